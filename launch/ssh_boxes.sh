#!/bin/bash
# A sweep on machines that are reached by ssh: Ray is started on each, the sweep runs on the first, all ends with it.
#
#   HOSTS="gpu1 gpu2 gpu3" launch/ssh_boxes.sh -m model=... judge=... dataset=...
#
# Needs: keys for ssh without a question; this folder, its .venv and the store at the same path on all of them (NFS); the
# first machine's name known to the others; port PORT free on it. Keys of endpoints: in the environment of the machines.
set -euo pipefail
: "${HOSTS:?names of the machines, the first is the head}"
read -ra hosts <<<"${HOSTS}"
port=${PORT:-6379}
folder=${PWD}
token=${folder}/.ray-token-$$

(umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"${token}")
there() {  # HOST COMMAND...: in this folder's environment; each word arrives as it is
  local host=$1
  shift
  exec ssh -o BatchMode=yes -tt "${host}" "cd ${folder@Q} && export PATH=${folder@Q}/.venv/bin:\$PATH RAY_AUTH_MODE=token \
RAY_AUTH_TOKEN_PATH=${token@Q} RAY_TMPDIR=/tmp/eibench-$$ && exec ${*@Q}" </dev/null
}
# With its terminal (-tt) goes what ssh has started: no Ray but this one is stopped.
rays=()
# shellcheck disable=SC2329  # called by the trap
leave() {
  ((${#rays[@]} == 0)) || { kill "${rays[@]}" && wait "${rays[@]}"; } 2>/dev/null || true
  rm -f -- "${token}"
}
trap leave EXIT

there "${hosts[0]}" ray start --head --port="${port}" --include-dashboard=false --disable-usage-stats --block >ray-head.log 2>&1 &
rays+=($!)
sleep 10
for host in "${hosts[@]:1}"; do
  there "${host}" ray start --address="${hosts[0]}:${port}" --disable-usage-stats --block >"ray-${host}.log" 2>&1 &
  rays+=($!)
done
status=75
while ((status == 75)); do  # something is left, as a machine was taken away
  status=0
  (there "${hosts[0]}" eibench-ray run cluster=ray cluster.address="${hosts[0]}:${port}" \
    cluster.expect.nodes="${#hosts[@]}" "$@") || status=$?
done
exit "${status}"

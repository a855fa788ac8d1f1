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
dashboard=()
[[ -z ${DASHBOARD_PORT:-} ]] || dashboard=(--dashboard-port="${DASHBOARD_PORT}")  # on the first machine's loopback
folder=${PWD}
token=${folder}/.ray-token-$$

(umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"${token}")
there() {  # HOST COMMAND...: in this folder's environment; each word arrives as it is
  local host=$1
  shift
  exec ssh -o BatchMode=yes -tt "${host}" "cd ${folder@Q} && export PATH=${folder@Q}/.venv/bin:\$PATH RAY_AUTH_MODE=token \
RAY_AUTH_TOKEN_PATH=${token@Q} && exec ${*@Q}" </dev/null
}
# Ray in a folder of mode 700 on its machine, as Ray opens its own to all users; it goes at the end. What was killed has
# left goes now, where nobody holds its lock any more.
# shellcheck disable=SC2016  # the other machine expands it
in_private='for left in /tmp/eib-*; do
  [[ -d ${left} && ! -L ${left} && -O ${left} && $(cat -- "${left}/.lock" 2>/dev/null) == "$(uname -n)" ]] || continue
  flock --nonblock "${left}/.lock" rm -rf -- "${left}" || true
done
private=$(mktemp -d /tmp/eib-XXXXXXXX) || exit 1
exec 9>"${private}/.lock"
flock 9
uname -n >&9
export TMPDIR=${private}
"$@" --temp-dir="${private}/r" &
trap "kill $! 2>/dev/null; wait; rm -rf -- ${private}" EXIT
trap "exit 143" TERM HUP INT
wait $!'
start_ray() {  # HOST OPTIONS...
  local host=$1
  shift
  there "${host}" bash -c "${in_private}" start-ray python -P -m eibench_ray.driver.ray_node "${dashboard[@]}" "$@"
}
# With its terminal (-tt) goes what ssh has started: no Ray but this one is stopped.
rays=()
# shellcheck disable=SC2329  # called by the trap
leave() {
  ((${#rays[@]} == 0)) || { kill "${rays[@]}" && wait "${rays[@]}"; } 2>/dev/null || true
  rm -f -- "${token}"
}
trap leave EXIT

start_ray "${hosts[0]}" --port="${port}" >ray-head.log 2>&1 &
rays+=($!)
sleep 10
for host in "${hosts[@]:1}"; do
  start_ray "${host}" --address="${hosts[0]}:${port}" >"ray-${host}.log" 2>&1 &
  rays+=($!)
done
status=75
while ((status == 75)); do  # something is left, as a machine was taken away
  status=0
  (there "${hosts[0]}" eibench-ray run cluster=ray cluster.address="${hosts[0]}:${port}" \
    cluster.expect.nodes="${#hosts[@]}" "$@") || status=$?
done
exit "${status}"

#!/bin/bash
# A sweep as a job of a Ray cluster that is up, by Ray's own job API: it goes on when this terminal closes.
#
#   RAY_ADDRESS=http://127.0.0.1:8265 launch/ray_job.sh -m model=... judge=... dataset=...
#
# Needs: a cluster with its dashboard (`pip install 'ray[default]'`, `ray start --head --include-dashboard=true`: it
# listens on loopback; from elsewhere `ssh -L 8265:127.0.0.1:8265 HEAD`), eibench-ray in its Python environment, its token here (RAY_AUTH_MODE=token,
# RAY_AUTH_TOKEN_PATH), and STORE, an absolute path or a URL that every node sees. Keys are in the environment with which
# the cluster was started: what is said here can be read in the dashboard.
set -euo pipefail
: "${STORE:?an absolute path that every node sees, for store.root}"
attempts=${ATTEMPTS:-5}

log=$(mktemp)
trap 'rm -f -- "${log}"' EXIT

for ((attempt = 1; attempt <= attempts; attempt++)); do
  status=0
  # Option files of your own travel with the job; paths in the arguments are relative to this folder there, too.
  # shellcheck disable=SC2016  # expanded there
  ray job submit --working-dir "${WORKING_DIR:-.}" \
    --runtime-env-json '{"excludes": [".git", ".venv", "store", "multirun", "outputs"]}' \
    -- bash -c 'eibench-ray run "$@" || { status=$?; echo "exit code ${status}"; exit "${status}"; }' run \
    cluster=ray store.root="${STORE}" hydra.run.dir="${STORE}/outputs/\${now:%Y-%m-%d_%H-%M-%S}" \
    hydra.sweep.dir="${STORE}/multirun/\${now:%Y-%m-%d_%H-%M-%S}" "$@" 2>&1 | tee "${log}" || status=$?
  grep -q '^exit code 75$' "${log}" || break  # Ray tells no more than that the job failed
  status=75
done
exit "${status}"

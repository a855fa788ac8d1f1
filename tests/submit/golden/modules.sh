#!/bin/bash
#SBATCH --job-name=table
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --export=WANDB_API_KEY,HF_TOKEN
#SBATCH --open-mode=append
#SBATCH --output=multirun/slurm-20261126-101500-ab12/job-%j.log
#SBATCH --signal=B:USR1@100
#SBATCH --no-requeue
#SBATCH --nice=100
#SBATCH --exclusive
set -euo pipefail

folder=${PWD}/multirun/slurm-20261126-101500-ab12
mkdir -p -- "${folder}"
export NCCL_SOCKET_IFNAME=ib0
module load python/3.11
module load cuda/12.8
ulimit -n 65536
set +u  # what activates an environment may read unset variables
# shellcheck disable=SC1091
source '/home/me/my venv'/bin/activate
set -u
inside=()  # what runs a command in the container, if there is one

export RAY_TMPDIR=/tmp RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=${folder}/token-${SLURM_JOB_ID}
(umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"${RAY_AUTH_TOKEN_PATH}")
if [[ -z ${SLURM_JOB_END_TIME:-} ]]; then  # before SLURM 23.02
  SLURM_JOB_END_TIME=$(date -d "$(squeue -h -j "${SLURM_JOB_ID}" -o %e)" +%s) || unset SLURM_JOB_END_TIME
fi
[[ -z ${SLURM_JOB_END_TIME:-} ]] || export SLURM_JOB_END_TIME

# Warned by SLURM (USR1), or told to go (TERM, at scancel and at preemption), the sweep finishes what is in flight.
driver='' ray='' is_warned=0 is_told=0
tell() { [[ -z ${driver} ]] || kill "-$1" "${driver}" 2>/dev/null || true; }
trap 'is_warned=1; tell USR1' USR1
trap 'is_told=1; tell TERM' TERM
# shellcheck disable=SC2329  # called by the trap
leave() {
  [[ -z ${ray} ]] || { kill "${ray}" && wait "${ray}"; } 2>/dev/null || true
  rm -f -- "${RAY_AUTH_TOKEN_PATH}"
}
trap leave EXIT

# Ray on every node, its head on this one. All ports are free ones, as other jobs may have a Ray on the same nodes.
# A folder of mode 700 on each node, as Ray opens its own to all users. It goes at the end; what a killed job of this
# user has left goes now, where nobody holds its lock any more.
# shellcheck disable=SC2329  # called by start_ray
make_private() {
  local left
  for left in "${RAY_TMPDIR}"/eib-*; do
    [[ -d ${left} && ! -L ${left} && -O ${left} && $(cat -- "${left}/.lock" 2>/dev/null) == "$(uname -n)" ]] || continue
    flock --nonblock "${left}/.lock" rm -rf -- "${left}" || true
  done
  private=$(mktemp -d -- "${RAY_TMPDIR}/eib-XXXXXXXX")
  exec 9>"${private}/.lock"
  flock 9
  uname -n >&9
}
# shellcheck disable=SC2329  # called by srun
start_ray() {
  local -a inside role=(--address="${EIBENCH_HEAD}:${EIBENCH_PORT}")
  ((SLURM_NODEID > 0)) || role=(--ip="${EIBENCH_HEAD}" --port="${EIBENCH_PORT}")
  started=''
  trap 'exit 143' TERM
  make_private
  trap 'kill "${started}" 2>/dev/null && wait; rm -rf -- "${private}"' EXIT
  export TMPDIR=${private}
  eval "inside=(${EIBENCH_INSIDE})"
  "${inside[@]}" python -P -m eibench_ray.driver.ray_node "${role[@]}" --temp-dir="${private}/r" \
    --num-cpus="${SRUN_CPUS_PER_TASK}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" &
  started=$!
  wait "${started}"
}
export -f make_private start_ray
export SRUN_CPUS_PER_TASK=8 RAY_gcs_rpc_server_reconnect_timeout_s=10
EIBENCH_INSIDE=${inside[*]@Q}
# The address under which the other nodes know this one; its own name may be a loopback's here.
EIBENCH_HEAD=$(getent ahostsv4 "${SLURMD_NODENAME:-$(hostname)}" | awk '$1 !~ /^127\./ && !found++ {print $1}')
[[ -n ${EIBENCH_HEAD} ]] || EIBENCH_HEAD=$(hostname -I | awk '{print $1}')
EIBENCH_PORT=$("${inside[@]}" python -P -c 'import socket; print(socket.create_server(("", 0)).getsockname()[1])')
export EIBENCH_INSIDE EIBENCH_HEAD EIBENCH_PORT
srun --overlap --mem=0 --nodes=2 --ntasks=2 --ntasks-per-node=1 bash -c start_ray \
  >"${folder}/ray-${SLURM_JOB_ID}.log" 2>&1 &
ray=$!
until (: <"/dev/tcp/${EIBENCH_HEAD}/${EIBENCH_PORT}") 2>/dev/null; do
  kill -0 "${ray}" 2>/dev/null || { echo "Ray did not start: see ${folder}/ray-${SLURM_JOB_ID}.log" >&2; exit 1; }
  sleep 0.5
done

# shellcheck disable=SC2016  # what looks like an expansion in here stands as it is
"${inside[@]}" eibench-ray run -m model=a,b dataset=demo judge=c cluster=slurm \
  cluster.address="${EIBENCH_HEAD}:${EIBENCH_PORT}" \
  "hydra.run.dir=multirun/slurm-20261126-101500-ab12/run-${SLURM_JOB_ID}-${SLURM_RESTART_COUNT:-0}" \
  "hydra.sweep.dir=multirun/slurm-20261126-101500-ab12/run-${SLURM_JOB_ID}-${SLURM_RESTART_COUNT:-0}" &
driver=$!
((is_warned + is_told == 0)) || tell USR1  # the warning came while Ray started
while kill -0 "${driver}" 2>/dev/null; do
  wait "${driver}" || true  # a signal ends the waiting, not the driver
done
status=0
wait "${driver}" || status=$?
exit "${status}"

#!/bin/bash
#SBATCH --job-name=table
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=4
#SBATCH --time=04:00:00
#SBATCH --open-mode=append
#SBATCH --output=multirun/slurm-20261126-101500-ab12/job-%j.log
#SBATCH --signal=B:USR1@100
#SBATCH --requeue
set -euo pipefail

folder=${PWD}/multirun/slurm-20261126-101500-ab12
mkdir -p -- "${folder}"
set +u  # what activates an environment may read unset variables
# shellcheck disable=SC1091
source /home/me/.venv/bin/activate
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

# shellcheck disable=SC2016  # what looks like an expansion in here stands as it is
"${inside[@]}" eibench-ray run -m model=a,b dataset=demo judge=c cluster=slurm \
  "hydra.run.dir=multirun/slurm-20261126-101500-ab12/run-${SLURM_JOB_ID}-${SLURM_RESTART_COUNT:-0}" \
  "hydra.sweep.dir=multirun/slurm-20261126-101500-ab12/run-${SLURM_JOB_ID}-${SLURM_RESTART_COUNT:-0}" &
driver=$!
((is_warned + is_told == 0)) || tell USR1  # the warning came while Ray started
while kill -0 "${driver}" 2>/dev/null; do
  wait "${driver}" || true  # a signal ends the waiting, not the driver
done
status=0
wait "${driver}" || status=$?

# 76: no GPU is needed any more. The next job goes on from the store without any.
if ((status == 76)); then
  : >"${folder}/handed-over"
  status=0
fi

# 75: something is left to do. Then the job queues itself again, and goes on from the store. TERM may have ended Ray
# before the sweep. After scancel the job is no longer running but completing, and stays away.
if ((status == 75 || (is_told && status))) && [[ $(squeue -h -j "${SLURM_JOB_ID}" -o %T) == RUNNING ]]; then
  scontrol requeue "${SLURM_JOB_ID}"
fi
exit "${status}"

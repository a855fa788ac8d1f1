"""A sweep as a job of submitit's: on SLURM, or on this machine (--cluster local). The job goes on when this ends.

    python launch/submitit_sweep.py --partition gpu --gpus 8 --minutes 240 -- -m model=... judge=... dataset=...

Needs: `pip install submitit` beside eibench-ray; this folder, --folder and the store at the same path on the nodes;
keys in your environment, which SLURM hands on. One node: for several, arrays or containers, `eibench-ray submit slurm`.

What only endpoints have left needs no GPU: with cluster.hand_over_s=300 among the arguments the job ends there. Another
one, submitted with `--gpus 0 --after JOB` and cluster.without_gpus=true among the arguments, goes on from the store.

Told that its time is over or that it is preempted (SIGUSR2), the job lets the sweep finish what is in flight, and
queues itself again. A sweep that ends with something left (exit code 75) is about to be told: the job waits.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time

import submitit

# What is left to do: the run was preempted, or its time was over.
PREEMPTED = 75
# All that needs a GPU is done; a run with cluster.without_gpus=true does the rest.
HANDED_OVER = 76
# More than cluster.grace_s and cluster.stop_timeout_s: so long before the end the job is told.
WARNING_S = 120


class Sweep:
    """`eibench-ray run` with some arguments, which arrive as they are: no shell reads them."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        self.child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Runs the sweep until it is done.

        Raises:
            RuntimeError: it failed.
        """
        self.child = subprocess.Popen(
            [sys.executable, "-m", "eibench_ray.cli.app", "run", *self.arguments],
            # SLURM tells all processes of the job: what does not listen would end.
            preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
        )
        # Not Popen.wait, which holds a lock that `checkpoint` needs when it interrupts this.
        os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOWAIT)
        status = self.child.wait()
        if status == PREEMPTED:
            time.sleep(2 * WARNING_S)
        if status not in (0, HANDED_OVER):
            raise RuntimeError(f"the sweep ended with exit code {status}: what it said stands above")
        return status

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """The same sweep again, which goes on from the store; called by submitit in the middle of `__call__`."""
        if self.child is not None:
            self.child.send_signal(signal.SIGUSR1)
            self.child.wait()
        return submitit.helpers.DelayedSubmission(Sweep(self.arguments))


def main() -> None:
    """Submits, and says which job it is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cluster", help="slurm or local; without it: slurm where there is one")
    parser.add_argument("--folder", default="multirun/submitit", help="for logs and for what the job does")
    parser.add_argument("--minutes", type=int, default=240, help="of one job; a longer sweep queues itself again")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=8)
    parser.add_argument("--memory-gb", type=int, default=64)
    parser.add_argument("--partition")
    parser.add_argument("--after", metavar="JOB", help="of SLURM's, which must end well before this one starts")
    parser.add_argument("--wait", action="store_true", help="until the sweep is done")
    parser.add_argument("arguments", nargs="+", help="of `eibench-ray run`, after --")
    options = parser.parse_args()
    executor = submitit.AutoExecutor(options.folder, cluster=options.cluster, slurm_max_num_timeout=1000)
    executor.update_parameters(
        name="eibench",
        timeout_min=options.minutes,
        gpus_per_node=options.gpus,
        cpus_per_task=options.cpus,
        mem_gb=options.memory_gb,
        slurm_signal_delay_s=WARNING_S,
    )
    if options.partition:
        executor.update_parameters(slurm_partition=options.partition)
    if options.after:
        executor.update_parameters(slurm_additional_parameters={"dependency": f"afterok:{options.after}"})
    job = executor.submit(Sweep(options.arguments))
    print(f"job {job.job_id}, log {job.paths.stdout}", flush=True)
    if options.wait:
        job.result()


if __name__ == "__main__":
    main()

"""SLURM's commands: a script is handed over, the queue is asked. The edge of this package."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.errors import ClusterError

TIMEOUT_S = 60.0
# squeue prints a job's state, why it waits, when it is expected to start, the time it has left, and its nodes.
_FIELDS = ("state", "reason", "start", "left", "nodes")
_FORMAT = "%T|%r|%S|%L|%N"


@dataclass(frozen=True, slots=True)
class Queued:
    """A job as the queue sees it; several tasks of an array are several of these."""

    job: str  # as squeue names it, e.g. `12` or `12_3`.
    state: str
    reason: str  # why it waits; `None` where it does not
    start: str  # when it has started, or is expected to; `N/A` where that is not known
    left: str  # the time that it has left
    nodes: str

    def __str__(self) -> str:
        """In one line."""
        if self.state == "PENDING":
            expected = "" if self.start == "N/A" else f", expected to start {self.start}"
            return f"SLURM job {self.job}: pending ({self.reason}){expected}"
        return f"SLURM job {self.job}: {self.state.lower()} on {self.nodes}, {self.left} left"


def sbatch(script: Path, after: str | None = None) -> str:
    """The id of the job that was submitted.

    Raises:
        ClusterError: there is no sbatch here, or SLURM refuses the job, in its own words.
    """
    dependency = [f"--dependency=afterany:{after}"] if after else []
    return _call(["sbatch", "--parsable", *dependency, str(script)], "cluster.slurm").split(";")[0]


def scancel(job: str) -> None:
    """Cancels a job."""
    _call(["scancel", job], "the job")


def ask_queue(job: str) -> list[Queued] | None:
    """A job as the queue sees it; empty where it has left the queue, None where nobody knows.

    A job that has left is an error for squeue as soon as SLURM has forgotten it.
    """
    try:
        lines = _call(["squeue", "--noheader", f"--jobs={job}", f"--format=%i|{_FORMAT}"], "the queue")
    except ClusterError as error:
        return [] if "Invalid job id" in str(error) else None
    return [Queued(*line.split("|", len(_FIELDS))) for line in lines.splitlines()]


def describe_queue(job: str, queued: list[Queued] | None) -> str:
    """The queue's words about a job, a line per part of it."""
    if queued is None:
        return f"SLURM job {job}: squeue does not answer here"
    return "\n".join(map(str, queued)) or f"SLURM job {job}: not in the queue any more"


def job_of(environment: Mapping[str, str]) -> str | None:
    """The SLURM job that this process is a part of, as squeue names it; None where there is none."""
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else environment.get("SLURM_JOB_ID")


def _call(command: list[str], what: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise ClusterError(
            f"{command[0]} is not here: submit where SLURM's commands are (a login node), or look at the script with "
            f"--dry-run"
        ) from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{command[0]} did not answer within {TIMEOUT_S:g} s: is SLURM's controller up?") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise ClusterError(f"{command[0]} refused ({said}): correct {what}")
    return done.stdout.strip()

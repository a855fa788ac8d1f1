"""The batch job that a process is a part of. SLURM queues a job again under its number, with a count that goes up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A job, told from all others; empty where a process is a part of none.

    Attributes:
        name: with its cluster's, as clusters may share a store: `alpha/4711`. Each task of an array has its own.
        restarts: how often it was queued again.
    """

    name: str = ""
    restarts: int = 0

    def is_queued_again(self, before: BatchJob) -> bool:
        """Whether this is the same job as `before`, started once more: SLURM does so when it has ended that one.

        >>> BatchJob("alpha/7", 1).is_queued_again(BatchJob("alpha/7", 0))
        True
        >>> BatchJob("alpha/7", 1).is_queued_again(BatchJob("alpha/7", 1))  # another step of the same start
        False
        """
        return bool(self.name) and self.name == before.name and self.restarts > before.restarts


def this_job(environ: Mapping[str, str] = os.environ) -> BatchJob:
    """The job of the process that calls."""
    job = environ.get("SLURM_JOB_ID", "")
    restarts = environ.get("SLURM_RESTART_COUNT", "")  # not set in the first start
    if not job.isdecimal() or not (restarts or "0").isdecimal():
        return BatchJob()
    return BatchJob(f"{environ.get('SLURM_CLUSTER_NAME', '')}/{job}", int(restarts or 0))

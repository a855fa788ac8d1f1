"""A run, or the runs of a submission's jobs, watched from another process by what they write."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from eibench_ray.errors import StoreError
from eibench_ray.runs.find_run import FoundRun, find_run, read_status, state_of
from eibench_ray.runs.run_status import state_in_queue
from eibench_ray.runs.run_view import RunView, RunViewer
from eibench_ray.submit.sbatch import Queued, ask_queue, describe_queue
from eibench_ray.submit.submission import runs_of

# A run that lives writes its record every two seconds while it asks.
QUIET_S = 10.0
# SLURM's controller serves everybody.
ASK_QUEUE_EVERY_S = 15.0


class RunWatch:
    """The latest look at a run, or at the run that began last of a submission's.

    Args:
        found: the run; None: that of a submission.
        submission: its folder, whose jobs are followed until none is left.
        jobs: of the submission, as squeue names them.
        clock: Unix time.

    Attributes:
        found: the run that is looked at; None while no job has begun one.
        state: as `status` has it.
        queue: what SLURM says of the jobs, a line each.
    """

    def __init__(
        self,
        found: FoundRun | None,
        submission: Path | None = None,
        jobs: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.found = found
        self.state = "running"
        self.queue: list[str] = []
        self._submission, self._jobs = submission, jobs
        self._clock = clock
        self._asked_at = 0.0
        self._queued: dict[str, list[Queued] | None] = {}
        self._viewer = RunViewer(found.manifest.plan) if found else None
        self.look()

    def look(self) -> None:
        """Looks again; a record that cannot be read now is taken as it was."""
        with contextlib.suppress(StoreError):  # also of a run that has its folder, and no plan in the store yet
            runs = runs_of(self._submission) if self._submission else []
            if runs and (self.found is None or self.found.folder != runs[-1]):
                self.found = find_run(str(runs[-1]))
                self._viewer = RunViewer(self.found.manifest.plan)
            if self.found is not None:
                status, has_folder = read_status(self.found.manifest.id, self.found.store)
                self.found = replace(self.found, status=status, has_folder=has_folder)
        self._ask_queue()
        if self.found is not None:
            self.state = state_of(self.found.status)
            # One that tells of itself lives, whatever the queue said before it began.
            if self.state == "running" and self._silent_s > QUIET_S:
                self.state = state_in_queue(self.found.status, self._queued)

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended, and no job of the submission is left that may begin another."""
        if any(queued for job, queued in self._queued.items() if job in self._jobs):
            return False
        return self.state != "running" if self.found else None not in self._queued.values()

    def view(self) -> RunView | None:
        """The view of the run now; None while there is none."""
        if self.found is None or self._viewer is None:
            return None
        is_quiet = self.state == "running" and self._silent_s > QUIET_S
        silent_s = self._silent_s if is_quiet else None
        view = self._viewer.view(self.found.status, self._clock(), state=self.state, silent_s=silent_s)
        return replace(view, waits=(*view.waits, *self.queue)) if self.state == "running" else view

    @property
    def _silent_s(self) -> float:
        return self._clock() - self.found.status.updated_at if self.found else 0.0

    def _ask_queue(self) -> None:
        """Asks about the submission's jobs, or about the job of a run that has been quiet, now and then."""
        jobs = list(self._jobs)
        if self.found and (job := self.found.status.slurm_job) and not jobs and self._silent_s > QUIET_S:
            jobs = [job]
        if jobs and self._clock() - self._asked_at >= ASK_QUEUE_EVERY_S:
            self._asked_at = self._clock()
            self._queued = {job: ask_queue(job) for job in jobs}
            self.queue = [describe_queue(job, queued) for job, queued in self._queued.items()]

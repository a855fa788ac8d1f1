"""Tracking with Weights & Biases, on one background thread.

The driver's calls only leave a job behind. A cell's newest progress replaces an older one that still waits, so that
what waits is bounded by the number of cells; final scores are never dropped to make room. The first failure, of the
network or of W&B's service, starts the tracking over, offline, with the job that failed; a job that fails then is
logged and lost. `close` waits for the thread no longer than its deadline.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from eibench_ray.config.schema import TrackingConfig
from eibench_ray.report.tracking import Mode, SampleRow, TrackedCell
from eibench_ray.report.wandb_runs import Final, Progress, WandbRuns, first_line, run_environ

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 60.0


class WandbTracker:
    """A tracker that hands its jobs to a background thread."""

    def __init__(
        self,
        config: TrackingConfig,
        folder: Path,
        mode: Mode,
        api_key: str | None,
        *,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
    ) -> None:
        self._close_timeout_s = close_timeout_s
        folder = folder.resolve()
        self._runs = WandbRuns(config, folder, mode, api_key)
        self._jobs: dict[tuple[type, str], Progress | Final] = {}
        self._unfinished: dict[str, TrackedCell] = {}
        self._finished: set[str] = set()
        self._num_failures = 0
        self._is_closing = False
        self._changed = threading.Condition()
        self._environ = {name: value for name, value in run_environ(folder).items() if name not in os.environ}
        os.environ.update(self._environ)
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def progress(self, cell: TrackedCell, *, rows_done: int, tokens: int, tokens_per_s: float) -> None:
        """Leave a point for the thread, in the place of one that still waits."""
        self._put(Progress(cell, rows_done, tokens, tokens_per_s))

    def finish(self, cell: TrackedCell, scores: Mapping[str, float | int], samples: Sequence[SampleRow]) -> None:
        """Leave the scores for the thread."""
        self._put(Final(cell, scores, samples))

    def close(self) -> None:
        """Wait for the thread, at most `close_timeout_s`."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(self._close_timeout_s)
        if self._thread.is_alive():
            with self._changed:
                names = sorted(cell.name for cell in self._unfinished.values())
            log.warning("tracking gave up after %.0f s on %d cells: %s", self._close_timeout_s, len(names), names)
            return
        for name in self._environ:
            os.environ.pop(name, None)

    def _put(self, job: Progress | Final) -> None:
        key = job.cell.key
        with self._changed:
            if key in self._finished:  # a late point would open the run again
                return
            self._jobs[type(job), key] = job
            self._unfinished[key] = job.cell
            if isinstance(job, Final):
                self._finished.add(key)
            self._changed.notify()

    def _take(self) -> Progress | Final | None:
        """The job that has waited longest; None when there is none and none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closing)
            return self._jobs.pop(next(iter(self._jobs))) if self._jobs else None

    def _work(self) -> None:
        while job := self._take():
            if isinstance(job, Progress):
                self._attempt(job.cell, partial(self._runs.show, job))
            else:
                self._attempt(job.cell, partial(self._runs.finish, job))
                with self._changed:
                    self._unfinished.pop(job.cell.key)
        for cell in list(self._unfinished.values()):
            self._attempt(cell, partial(self._runs.abandon, cell))
        self._attempt(None, self._runs.close)

    def _attempt(self, cell: TrackedCell | None, deliver: Callable[[], None]) -> None:
        name = cell.name if cell else "all"
        try:
            deliver()
        # Whatever it is: W&B raises a dozen kinds straight from Exception, and none may end a sweep.
        except Exception as error:
            self._num_failures += 1
            if self._num_failures == 1:
                log.warning("tracking goes on offline, for `wandb sync` cell=%s: %s", name, first_line(error))
                self._attempt(cell, self._runs.start_over_offline)
                self._attempt(cell, deliver)
            else:
                level = logging.WARNING if self._num_failures == 2 else logging.DEBUG
                log.log(level, "tracking failed, the sweep goes on cell=%s: %s", name, first_line(error))

"""Tracking with Weights & Biases, on one background thread.

The driver's calls only leave a job behind. A cell's newest progress replaces an older one that still waits, so that
what waits is bounded by the number of cells; final scores are never dropped to make room. A cell that cannot be sent is
written offline, and its reason is logged; after two in a row the rest is written offline without being tried. A cell
that cannot be written either is named in the report. `close` waits until its deadline, says what it waits for, and ends
W&B's service if that is still busy then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from eibench_ray.config.schema import TrackingConfig
from eibench_ray.engines.api_key import Secret
from eibench_ray.errors import EibenchError
from eibench_ray.rows.wait import Wait
from eibench_ray.tracking.tracker import Delivery, Mode, SampleRow, Target, TrackedCell, TrackingReport
from eibench_ray.tracking.wandb.wandb_environ import describe_left_out, left_out, tracking_environ
from eibench_ray.tracking.wandb.wandb_runs import Final, Progress, WandbRuns, describe_error

log = logging.getLogger(__name__)

SAY_EVERY_S = 15.0
FIRST_WORD_S = 3.0
# After so many failures in a row the server is not asked again.
MOST_FAILURES = 2
# What a killed service leaves its thread to come back in.
_LAST_JOIN_S = 10.0


class WandbTracker:
    """A tracker that hands its jobs to a background thread.

    Args:
        config: what to track with.
        folder: where W&B's files go, in its `wandb`.
        target: where it sends.
        api_key: for online runs.
    """

    def __init__(self, config: TrackingConfig, folder: Path, target: Target, api_key: str | None) -> None:
        self.target: Target | None = target
        folder = folder.resolve()
        self._mode: Mode = target.mode
        self._secret = Secret(api_key)
        # Who chose offline will sync; who merely has no key gets small folders.
        was_asked = config.mode != "auto" or bool(os.environ.get("WANDB_MODE")) or target.mode == "online"
        self._runs = WandbRuns(config, folder, api_key, has_pictures=was_asked)
        self._jobs: dict[tuple[type, str], Progress | Final] = {}
        self._unfinished: dict[str, TrackedCell] = {}
        self._ended: set[str] = set()
        self._finals: dict[str, TrackedCell] = {}  # of the ended ones, those that are not delivered yet
        self._report = TrackingReport()
        if target.mode == "offline":
            self._report.reason = (
                f"tracking is offline ({'as configured' if was_asked else f'{config.api_key_env} is not set'})"
            )
        self._num_in_row = self._num_failures = 0
        self._is_closing = False
        self._is_given_up = False
        self._changed = threading.Condition()
        self._environ = contextlib.ExitStack()
        if names := left_out(os.environ):
            log.warning("%s", describe_left_out(names))
        self._environ.enter_context(tracking_environ(folder))
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def progress(self, cell: TrackedCell, *, rows_done: int, tokens: int, tokens_per_s: float) -> None:
        """Leave a point for the thread, in the place of one that still waits."""
        self._put(Progress(cell, rows_done, tokens, tokens_per_s))

    def finish(
        self,
        cell: TrackedCell,
        scores: Mapping[str, float | int],
        samples: Sequence[SampleRow],
        on_delivery: Callable[[Delivery], None],
    ) -> None:
        """Leave the scores for the thread."""
        self._put(Final(cell, scores, samples, on_delivery))

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:
        """Wait for the thread, with a line about it now and then; at the deadline, or on Ctrl-C, end what it does."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        why = f"not sent within {deadline_s:.0f} s"
        try:
            self._wait(deadline_s, say)
        except (KeyboardInterrupt, SystemExit):  # SIGTERM, too: everything but this wait is done
            why = "interrupted before it was sent"
        if self._thread.is_alive():
            if trouble := self._runs.describe_trouble():
                why = f"{why}: {self._secret.hide(trouble)}"
            with self._changed:
                self._is_given_up = True
                self._jobs.clear()
                self._changed.notify()
                self._report.reason = self._report.reason or why
                self._report.missing |= {cell.name: why for cell in self._finals.values()}
            self._runs.kill()
            self._thread.join(_LAST_JOIN_S)
        if not self._thread.is_alive():
            self._environ.close()
            self._runs.clean(is_all_sent=not (self._report.offline or self._report.missing))
        return self._report

    def _wait(self, deadline_s: float, say: Callable[[str], None]) -> None:
        started = time.monotonic()
        next_word_s = FIRST_WORD_S
        while (waited_s := time.monotonic() - started) < deadline_s:
            self._thread.join(min(1.0, deadline_s - waited_s))
            if not self._thread.is_alive():
                return
            if waited_s >= next_word_s:
                next_word_s = waited_s + SAY_EVERY_S
                say(self._describe_wait(waited_s, deadline_s))

    def _describe_wait(self, waited_s: float, deadline_s: float) -> str:
        with self._changed:
            num_done = len(self._report.sent) + len(self._report.offline)
            left = [cell.name for cell in self._finals.values()]
        trouble = self._runs.describe_trouble()
        what = f"W&B to take {left[0]}" if left else "W&B to end its runs"
        wait = Wait(f"{what}{f' ({self._secret.hide(trouble)})' if trouble else ''}", waited_s, deadline_s)
        return (
            f"Tracking: {num_done} of {num_done + len(left)} cells are told; {wait}. Ctrl-C leaves the rest for later."
        )

    def _put(self, job: Progress | Final) -> None:
        key = job.cell.key
        with self._changed:
            if key in self._ended:
                return  # a late point would open the run again
            self._jobs[type(job), key] = job
            self._unfinished[key] = job.cell
            if isinstance(job, Final):
                self._ended.add(key)
                self._finals[key] = job.cell
            self._changed.notify()

    def _take(self) -> Progress | Final | None:
        """The job that has waited longest; None when there is none and none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closing)
            return self._jobs.pop(next(iter(self._jobs))) if self._jobs else None

    def _work(self) -> None:
        while job := self._take():
            if isinstance(job, Progress):
                self._show(job)
            else:
                self._finish(job)
                with self._changed:
                    self._unfinished.pop(job.cell.key)
                    self._finals.pop(job.cell.key, None)
        for cell in list(self._unfinished.values()):
            self._attempt(cell, partial(self._runs.abandon, cell))
        self._attempt(None, self._runs.start_over)

    def _show(self, job: Progress) -> None:
        if error := self._attempt(job.cell, lambda: self._runs.show(job, self._mode)):
            self._note_failure(job.cell, error)
            if self._mode == "offline":  # a server that does not answer is not asked at once again, for a point
                self._attempt(job.cell, lambda: self._runs.show(job, self._mode))

    def _finish(self, job: Final) -> None:
        """Delivers a cell's figures: as configured, and else offline."""
        if not (error := self._attempt(job.cell, lambda: self._deliver(job, self._mode))):
            self._num_in_row = 0
            return
        if self._is_given_up:  # the call ended because W&B's service was killed
            return
        self._note_failure(job.cell, error)
        if error := self._attempt(job.cell, lambda: self._deliver(job, "offline")):
            self._report.missing.setdefault(job.cell.name, error)

    def _deliver(self, job: Final, mode: Mode) -> None:
        delivery = self._runs.finish(job, mode)
        with self._changed:
            self._report.note(job.cell, delivery)
            self._report.missing.pop(job.cell.name, None)
        try:
            job.on_delivery(delivery)
        except EibenchError as error:
            log.warning("%s was told to the tracker, but the store cannot note that: %s", job.cell.name, error)

    def _note_failure(self, cell: TrackedCell, error: str) -> None:
        """Says the first failure, whole; starts W&B's service anew; leaves the server alone after some in a row."""
        self._num_in_row += 1
        if self._num_failures == 0:
            self._report.reason = error
        self._num_failures += 1
        level = logging.WARNING if self._num_failures == 1 else logging.INFO
        log.log(level, "tracking of %s failed, its figures are written offline: %s", cell.name, error)
        if self._num_in_row >= MOST_FAILURES and self._mode == "online":
            self._mode = "offline"
            log.info("tracking goes on offline after %d failures in a row", self._num_in_row)
        self._attempt(cell, self._runs.start_over)

    def _attempt(self, cell: TrackedCell | None, deliver: Callable[[], object]) -> str | None:
        """Does something; what went wrong, whole and without the key, or None."""
        try:
            deliver()
        # Whatever it is: W&B raises a dozen kinds straight from Exception, and none may end a sweep.
        except Exception as error:
            message = self._secret.hide(describe_error(error))
            log.debug("tracking cell=%s: %s", cell.name if cell else "all", message)
            return message
        return None

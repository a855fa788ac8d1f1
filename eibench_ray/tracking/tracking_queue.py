"""Queue of a tracker's calls, worked off by one background thread.

Tracking is a bystander: the driver's calls only leave a job behind. A cell's newest progress replaces an older one that
still waits, so that what waits is bounded by the number of cells; final scores are never dropped to make room. A cell
that cannot be sent is kept offline, where the tracker can do that, and its reason is logged; after two in a row the
rest is kept offline without being tried. A cell that cannot be kept either is named in the report. `close` waits until
its deadline, says what it waits for, and stops the tracker if that is still busy then.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eibench_ray.engines.api_key import Secret
from eibench_ray.errors import EibenchError
from eibench_ray.rows.wait import Wait
from eibench_ray.tracking.tracker import (
    Delivery,
    Mode,
    Progress,
    SampleRow,
    Target,
    TrackedCell,
    TrackedRun,
    Tracker,
    TrackingPlace,
    TrackingReport,
)

log = logging.getLogger(__name__)

SAY_EVERY_S = 15.0
FIRST_WORD_S = 3.0
# After so many failures in a row the server is not asked again.
MOST_FAILURES = 2
# What a stopped tracker leaves its thread to come back in.
_LAST_JOIN_S = 10.0


class CellTracker(Protocol):
    """Tells a tracker of a run's cells. No method raises, and only `close` waits."""

    target: Target | None  # where it goes; None: nowhere

    def progress(self, cell: TrackedCell, progress: Progress) -> None:
        """Notes how far a cell is; the caller limits the rate, and only a cell's newest note is sure to arrive."""

    def finish(
        self,
        cell: TrackedCell,
        scores: Mapping[str, float | int],
        samples: Sequence[SampleRow],
        on_delivery: Callable[[Delivery], None],
    ) -> None:
        """Notes a cell's scores, and ends its run; `on_delivery` is called once they have arrived, from any thread."""

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:
        """Delivers what is left.

        Args:
            deadline_s: seconds after which it gives up, and stops what still sends; Ctrl-C does that before.
            say: takes a line about what is waited for, now and then.
        """


class NoTracker:
    """Tells nobody.

    Args:
        reason: why, if the configuration asks for tracking; then its report names the cells that it was told.
        title: of the tracker that is asked for.
    """

    def __init__(self, reason: str | None = None, title: str = Tracker.title) -> None:
        self.target: Target | None = None
        self._report = TrackingReport(title, reason=reason)

    def progress(self, cell: TrackedCell, progress: Progress) -> None:
        """Does nothing."""

    def finish(
        self,
        cell: TrackedCell,
        scores: Mapping[str, float | int],  # noqa: ARG002 - as the protocol wants it
        samples: Sequence[SampleRow],  # noqa: ARG002
        on_delivery: Callable[[Delivery], None],  # noqa: ARG002
    ) -> None:
        """Keeps the cell's name, if somebody wants to know what was not sent."""
        if self._report.reason:
            self._report.missing[cell.name] = self._report.reason

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:  # noqa: ARG002
        """Reports what was not sent."""
        return self._report


@dataclass(frozen=True, slots=True)
class _Point:
    cell: TrackedCell
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Final:
    cell: TrackedCell
    scores: Mapping[str, float | int]
    samples: Sequence[SampleRow]
    on_delivery: Callable[[Delivery], None]


class TrackingQueue:
    """Hands jobs to a tracker on a background thread."""

    def __init__(self, tracker: Tracker, folder: Path, target: Target, secret: str | None) -> None:
        self.target: Target | None = target
        self._tracker = tracker
        self._folder = folder.resolve()
        self._place = target
        self._mode: Mode = "offline" if target.mode == "offline" else "online"
        self._key, self._secret = secret, Secret(secret)
        self._runs: dict[tuple[str, Mode], TrackedRun] = {}
        self._jobs: dict[tuple[type, str], _Point | _Final] = {}
        self._unfinished: dict[str, TrackedCell] = {}
        self._ended: set[str] = set()
        self._finals: dict[str, TrackedCell] = {}  # of the ended ones, those that are not delivered yet
        self._report = TrackingReport(tracker.title, reason=target.reason)
        self._num_in_row = self._num_failures = 0
        self._is_closing = False
        self._is_given_up = False
        self._changed = threading.Condition()
        self._session = contextlib.ExitStack()
        self._session.enter_context(tracker.session(self._folder))
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def progress(self, cell: TrackedCell, progress: Progress) -> None:
        """Leaves a point for the thread, in the place of one that still waits."""
        self._put(_Point(cell, progress))

    def finish(
        self,
        cell: TrackedCell,
        scores: Mapping[str, float | int],
        samples: Sequence[SampleRow],
        on_delivery: Callable[[Delivery], None],
    ) -> None:
        """Leaves the scores for the thread."""
        self._put(_Final(cell, scores, samples, on_delivery))

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:
        """Waits for the thread, with a line about it now and then; at the deadline, or on Ctrl-C, ends what it does."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        why = f"not sent within {deadline_s:.0f} s"
        try:
            self._wait(deadline_s, say)
        except (KeyboardInterrupt, SystemExit):  # SIGTERM, too: everything but this wait is done
            why = "interrupted before it was sent"
        if self._thread.is_alive():
            if trouble := self._describe_trouble():
                why = f"{why}: {trouble}"
            with self._changed:
                self._is_given_up = True
                self._jobs.clear()
                self._changed.notify()
                self._report.reason = self._report.reason or why
                self._report.missing |= {cell.name: why for cell in self._finals.values()}
            self._tracker.stop()
            self._thread.join(_LAST_JOIN_S)
        if not self._thread.is_alive():
            self._session.close()
            self._tracker.clean(self._folder, is_all_sent=not (self._report.offline or self._report.missing))
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
        trouble = self._describe_trouble()
        what = f"{self._tracker.title} to {f'take {left[0]}' if left else 'end its runs'}"
        wait = Wait(f"{what}{f' ({trouble})' if trouble else ''}", waited_s, deadline_s)
        return (
            f"Tracking: {num_done} of {num_done + len(left)} cells are told; {wait}. Ctrl-C leaves the rest for later."
        )

    def _describe_trouble(self) -> str | None:
        trouble = self._tracker.describe_trouble(self._folder, list(self._runs.values()))
        return self._secret.hide(trouble) if trouble else None

    def _put(self, job: _Point | _Final) -> None:
        key = job.cell.key
        with self._changed:
            if key in self._ended:
                return  # a late point would open the run again
            self._jobs[type(job), key] = job
            self._unfinished[key] = job.cell
            if isinstance(job, _Final):
                self._ended.add(key)
                self._finals[key] = job.cell
            self._changed.notify()

    def _take(self) -> _Point | _Final | None:
        """The job that has waited longest; None when there is none and none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closing)
            return self._jobs.pop(next(iter(self._jobs))) if self._jobs else None

    def _work(self) -> None:
        while job := self._take():
            if isinstance(job, _Point):
                self._show(job)
            else:
                self._finish(job)
                with self._changed:
                    self._unfinished.pop(job.cell.key)
                    self._finals.pop(job.cell.key, None)
        for (key, _), run in list(self._runs.items()):
            self._attempt(self._unfinished.get(key), run.fail)
        self._attempt(None, self._reset)

    def _show(self, job: _Point) -> None:
        if not self._may_try(self._mode):
            return
        if error := self._attempt(job.cell, lambda: self._open(job.cell, self._mode).log(job.progress)):
            self._note_failure(job.cell, error)
            if self._mode == "offline" and self._may_try("offline"):
                # A server that does not answer is not asked at once again, for a point.
                self._attempt(job.cell, lambda: self._open(job.cell, "offline").log(job.progress))

    def _finish(self, job: _Final) -> None:
        """Delivers a cell's figures: as configured, and else offline."""
        error: str | None = self._report.reason
        if self._may_try(self._mode):
            if not (error := self._attempt(job.cell, lambda: self._deliver(job, self._mode))):
                self._num_in_row = 0
                return
            if self._is_given_up:  # the call ended because the tracker was stopped
                return
            self._note_failure(job.cell, error)
        if self._may_try("offline"):
            error = self._attempt(job.cell, lambda: self._deliver(job, "offline"))
        if error:
            self._report.missing.setdefault(job.cell.name, error)

    def _may_try(self, mode: Mode) -> bool:
        return mode == "online" or self._tracker.has_offline

    def _open(self, cell: TrackedCell, mode: Mode) -> TrackedRun:
        if (run := self._runs.get((cell.key, mode))) is None:
            run = self._tracker.open(cell, TrackingPlace(self._folder, self._place, mode, self._key))
            self._runs[cell.key, mode] = run
        return run

    def _deliver(self, job: _Final, mode: Mode) -> None:
        run = self._open(job.cell, mode)
        try:
            delivery = run.finish(job.cell, job.scores, job.samples)
        finally:
            self._runs.pop((job.cell.key, mode), None)
        with self._changed:
            self._report.note(job.cell, delivery)
            self._report.missing.pop(job.cell.name, None)
        try:
            job.on_delivery(delivery)
        except EibenchError as error:
            log.warning("%s was told to the tracker, but the store cannot note that: %s", job.cell.name, error)

    def _note_failure(self, cell: TrackedCell, error: str) -> None:
        """Says the first failure, whole; starts the tracker anew; leaves the server alone after some in a row."""
        self._num_in_row += 1
        if self._num_failures == 0:
            self._report.reason = error
        self._num_failures += 1
        level = logging.WARNING if self._num_failures == 1 else logging.INFO
        kept = "its figures are written offline" if self._tracker.has_offline else "its figures are not sent"
        log.log(level, "tracking of %s failed, %s: %s", cell.name, kept, error)
        if self._num_in_row >= MOST_FAILURES and self._mode == "online":
            self._mode = "offline"
            log.info("the tracker's server is not asked again after %d failures in a row", self._num_in_row)
        self._attempt(cell, self._reset)

    def _reset(self) -> None:
        self._runs.clear()
        self._tracker.reset()

    def _attempt(self, cell: TrackedCell | None, deliver: Callable[[], object]) -> str | None:
        """Does something; what went wrong, whole and without the key, or None."""
        try:
            deliver()
        # Whatever it is: trackers raise dozens of kinds straight from Exception, and none may end a sweep.
        except Exception as error:
            message = self._secret.hide(f"{type(error).__name__}: {' '.join(str(error).split())}")
            log.debug("tracking cell=%s: %s", cell.name if cell else "all", message)
            return message
        return None

"""Queue of a tracker's calls, worked off by one background thread.

Tracking is a bystander: the driver's calls only leave a job behind. A run's newest point replaces an older one that
still waits, so that what waits is bounded by the number of cells; final figures are never dropped to make room. A run
that cannot be sent is kept offline, where the tracker can do that, and its reason is logged; after two in a row the
rest is kept offline without being tried. A run that cannot be kept either is named in the report. `close` waits until
its deadline, says what it waits for, and stops the tracker if that is still busy then.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.engines.api_key import Secret
from eibench_ray.errors import EibenchError
from eibench_ray.rows.wait import Wait
from eibench_ray.tracking.tracker import (
    Delivery,
    Final,
    Mode,
    Progress,
    RunFacts,
    Target,
    TrackedRun,
    Tracker,
    TrackingPlace,
)
from eibench_ray.tracking.tracking_report import TrackingReport

log = logging.getLogger(__name__)

SAY_EVERY_S = 15.0
FIRST_WORD_S = 3.0
# After so many failures in a row the server is not asked again.
MOST_FAILURES = 2
# What a stopped tracker leaves its thread to come back in.
_LAST_JOIN_S = 10.0


@dataclass(frozen=True, slots=True)
class _Point:
    facts: RunFacts
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Final:
    facts: RunFacts
    final: Final
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
        self._unfinished: dict[str, RunFacts] = {}
        self._ended: set[str] = set()
        self._finals: dict[str, RunFacts] = {}  # of the ended ones, those that are not delivered yet
        self._report = TrackingReport(tracker.title, reason=target.reason)
        self._num_in_row = self._num_failures = 0
        self.was_interrupted = False  # whether Ctrl-C ended the wait for it
        self._is_closing = False
        self._is_given_up = False
        self._changed = threading.Condition()
        self._session = contextlib.ExitStack()
        self._session.enter_context(tracker.session(self._folder))
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def progress(self, facts: RunFacts, progress: Progress) -> None:
        """Leaves a point for the thread, in the place of one that still waits."""
        self._put(_Point(facts, progress))

    def finish(self, facts: RunFacts, final: Final, on_delivery: Callable[[Delivery], None]) -> None:
        """Leaves the final figures for the thread."""
        self._put(_Final(facts, final, on_delivery))

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
            self.was_interrupted = True
        if self._thread.is_alive():
            if trouble := self._describe_trouble():
                why = f"{why}: {trouble}"
            with self._changed:
                self._is_given_up = True
                self._jobs.clear()
                self._changed.notify()
                self._report.reason = self._report.reason or why
                self._report.missing |= {facts.name: why for facts in self._finals.values()}
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
            left = [facts.name for facts in self._finals.values()]
        trouble = self._describe_trouble()
        what = f"{self._tracker.title} to {f'take {left[0]}' if left else 'end its runs'}"
        wait = Wait(f"{what}{f' ({trouble})' if trouble else ''}", waited_s, deadline_s)
        return (
            f"Tracking: {num_done} of {num_done + len(left)} runs are told; {wait}. Ctrl-C leaves the rest for later."
        )

    def _describe_trouble(self) -> str | None:
        trouble = self._tracker.describe_trouble(self._folder, list(self._runs.values()))
        return self._secret.hide(trouble) if trouble else None

    def _put(self, job: _Point | _Final) -> None:
        key = job.facts.key
        with self._changed:
            if key in self._ended:
                return  # a late point would open the run again
            self._jobs[type(job), key] = job
            self._unfinished[key] = job.facts
            if isinstance(job, _Final):
                self._ended.add(key)
                self._finals[key] = job.facts
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
                    self._unfinished.pop(job.facts.key)
                    self._finals.pop(job.facts.key, None)
        for (key, _), run in list(self._runs.items()):
            self._attempt(self._unfinished.get(key), run.fail)
        self._attempt(None, self._reset)

    def _show(self, job: _Point) -> None:
        if not self._may_try(self._mode):
            return
        if error := self._attempt(job.facts, lambda: self._open(job.facts, self._mode).log(job.progress)):
            self._note_failure(job.facts, error)
            if self._mode == "offline" and self._may_try("offline"):
                # A server that does not answer is not asked at once again, for a point.
                self._attempt(job.facts, lambda: self._open(job.facts, "offline").log(job.progress))

    def _finish(self, job: _Final) -> None:
        """Delivers a cell's figures: as configured, and else offline."""
        error: str | None = self._report.reason
        if self._may_try(self._mode):
            if not (error := self._attempt(job.facts, lambda: self._deliver(job, self._mode))):
                self._num_in_row = 0
                return
            if self._is_given_up:  # the call ended because the tracker was stopped
                return
            self._note_failure(job.facts, error)
        if self._may_try("offline"):
            error = self._attempt(job.facts, lambda: self._deliver(job, "offline"))
        if error:
            self._report.missing.setdefault(job.facts.name, error)

    def _may_try(self, mode: Mode) -> bool:
        return mode == "online" or self._tracker.has_offline

    def _open(self, facts: RunFacts, mode: Mode) -> TrackedRun:
        if (run := self._runs.get((facts.key, mode))) is None:
            run = self._tracker.open(facts, TrackingPlace(self._folder, self._place, mode, self._key))
            self._runs[facts.key, mode] = run
        return run

    def _deliver(self, job: _Final, mode: Mode) -> None:
        run = self._open(job.facts, mode)
        try:
            delivery = run.finish(job.facts, job.final)
        finally:
            self._runs.pop((job.facts.key, mode), None)
        with self._changed:
            self._report.note(job.facts, delivery)
            self._report.missing.pop(job.facts.name, None)
        try:
            job.on_delivery(delivery)
        except EibenchError as error:
            log.warning("%s was told to the tracker, but the store cannot note that: %s", job.facts.name, error)

    def _note_failure(self, facts: RunFacts, error: str) -> None:
        """Says the first failure, whole; starts the tracker anew; leaves the server alone after some in a row."""
        self._num_in_row += 1
        if self._num_failures == 0:
            self._report.reason = error
        self._num_failures += 1
        level = logging.WARNING if self._num_failures == 1 else logging.INFO
        kept = "its figures are written offline" if self._tracker.has_offline else "its figures are not sent"
        log.log(level, "tracking of %s with %s failed, %s: %s", facts.name, self._tracker.title, kept, error)
        if self._num_in_row >= MOST_FAILURES and self._mode == "online":
            self._mode = "offline"
            log.info("%s is not asked again after %d failures in a row", self._tracker.title, self._num_in_row)
        self._attempt(facts, self._reset)

    def _reset(self) -> None:
        self._runs.clear()
        self._tracker.reset()

    def _attempt(self, facts: RunFacts | None, deliver: Callable[[], object]) -> str | None:
        """Does something; what went wrong, whole and without the key, or None."""
        try:
            deliver()
        # Whatever it is: trackers raise dozens of kinds straight from Exception, and none may end a sweep.
        except Exception as error:
            message = self._secret.hide(f"{type(error).__name__}: {' '.join(str(error).split())}")
            log.debug("tracking run=%s: %s", facts.name if facts else "all", message)
            return message
        return None

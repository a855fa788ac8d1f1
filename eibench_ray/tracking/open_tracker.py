"""Trackers at work: one with a queue, one that tells nobody, and several as one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from eibench_ray.tracking.tracker import Delivery, Final, Progress, RunFacts, Target, Tracker
from eibench_ray.tracking.tracking_report import TrackingReport


class OpenTracker(Protocol):
    """Tells a tracker of a sweep. No method raises, and only `close` waits."""

    target: Target | None  # where it goes; None: nowhere
    was_interrupted: bool  # whether Ctrl-C ended the wait for it

    def progress(self, facts: RunFacts, progress: Progress) -> None:
        """Notes how far a run is; the caller limits the rate, and only the newest note is sure to arrive."""

    def finish(self, facts: RunFacts, final: Final, on_delivery: Callable[[Delivery], None]) -> None:
        """Notes a run's final figures, and ends it; `on_delivery` is called once they are there, from any thread."""

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:
        """Delivers what is left.

        Args:
            deadline_s: seconds after which it gives up, and stops what still sends; Ctrl-C does that before.
            say: takes a line about what is waited for, now and then.
        """


class NoTracker:
    """Tells nobody.

    Args:
        reason: why, if the configuration asks for tracking; then its report names the runs that it was told.
        title: of the tracker that is asked for.
    """

    was_interrupted = False

    def __init__(self, reason: str | None = None, title: str = Tracker.title) -> None:
        self.target: Target | None = None
        self._report = TrackingReport(title, reason=reason)

    def progress(self, facts: RunFacts, progress: Progress) -> None:
        """Does nothing."""

    def finish(self, facts: RunFacts, final: Final, on_delivery: Callable[[Delivery], None]) -> None:  # noqa: ARG002
        """Keeps the run's name, if somebody wants to know what was not sent."""
        if self._report.reason:
            self._report.missing[facts.name] = self._report.reason

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:  # noqa: ARG002
        """Reports what was not sent."""
        return self._report


# A run's trackers by their names, each on a thread of its own: what one of them fails on, the others do not notice.
OpenTrackers = Mapping[str, OpenTracker]


def close_all(trackers: OpenTrackers, deadline_s: float, say: Callable[[str], None]) -> dict[str, TrackingReport]:
    """The report of each tracker, by its name; all work until the same deadline, or until Ctrl-C."""
    ends_at = time.monotonic() + deadline_s
    reports = {}
    for name, tracker in trackers.items():
        reports[name] = tracker.close(max(0.0, ends_at - time.monotonic()), say)
        if tracker.was_interrupted:
            ends_at = 0.0
    return reports

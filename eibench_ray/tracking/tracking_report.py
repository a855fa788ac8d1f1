"""Deliveries of a tracker, and the paragraph about what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eibench_ray.tracking.tracker import Delivery, RunFacts, Tracker


@dataclass(slots=True)
class TrackingReport:
    """Deliveries of a tracker, of the final figures that it was told.

    Attributes:
        reason: why runs are offline or missing, as the server or the system said it; None where all were sent.
    """

    title: str = Tracker.title  # of the tracker
    sent: dict[str, str | None] = field(default_factory=dict)  # name of a tracked run -> its page
    offline: dict[str, str | None] = field(default_factory=dict)  # name -> the offline run's folder
    missing: dict[str, str] = field(default_factory=dict)  # name -> why its figures are nowhere
    reason: str | None = None

    def note(self, facts: RunFacts, delivery: Delivery) -> None:
        """Enters a delivery."""
        if delivery.mode == "online":
            self.sent[facts.name] = delivery.url
        else:
            self.offline[facts.name] = delivery.folder

    def describe(self, run: Path) -> str | None:
        """One paragraph about what was not sent, and how to send it; None where nothing is left to send."""
        num_left = len(self.offline) + len(self.missing)
        if not num_left:
            return None
        where = [f"{len(self.offline)} in offline folders below {run}"] if self.offline else []
        where += [f"{len(self.missing)} nowhere ({_shorten(sorted(self.missing))})"] if self.missing else []
        return (
            f"Tracking: the final figures of {num_left} of {num_left + len(self.sent)} tracked runs are not at "
            f"{self.title}: {', '.join(where)}. Reason: {self.reason or 'unknown'}. "
            f"`eibench-ray track {run}` sends them, and so does the next run of this sweep that reaches {self.title}."
        )


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

"""A tracker that keeps what it is told, and delivers it, or not, as a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from eibench_ray.tracking.tracker import Delivery, Final, Progress, RunFacts, Target
from eibench_ray.tracking.tracking_report import TrackingReport

ONLINE = Target("online", "https://api.wandb.ai", "eibench")
OFFLINE = Target("offline", "https://api.wandb.ai", "eibench")


class RecordingTracker:
    """Delivers at once.

    Args:
        target: where it says that it sends.
        folder: of its offline runs.
        undelivered: what the names of runs begin with that it loses.

    Attributes:
        told: runs of cells with their final figures.
        points: what it was told meanwhile.
        sweeps: the sweep's runs with theirs.
    """

    def __init__(self, target: Target | None, folder: Path = Path("/nowhere"), undelivered: Sequence[str] = ()) -> None:
        self.target = target
        self.was_interrupted = False
        self.told: list[tuple[RunFacts, Final]] = []
        self.sweeps: list[tuple[RunFacts, Final]] = []
        self.points: list[tuple[RunFacts, Progress]] = []
        self._folder = folder
        self._undelivered = tuple(undelivered)
        self._report = TrackingReport(reason="a test's reason")

    def progress(self, facts: RunFacts, progress: Progress) -> None:
        """Keep it."""
        self.points.append((facts, progress))

    def finish(self, facts: RunFacts, final: Final, on_delivery: Callable[[Delivery], None]) -> None:
        """Keep it, and deliver."""
        (self.sweeps if facts.job == "sweep" else self.told).append((facts, final))
        if facts.name.startswith(self._undelivered) or self.target is None:
            self._report.missing[facts.name] = "a test's reason"
            return
        is_offline = self.target.mode == "offline"
        where = (None, str(self._folder)) if is_offline else (f"https://wandb.ai/{facts.key[:4]}", None)
        delivery = Delivery("offline" if is_offline else "online", facts.key[:32], *where)
        self._report.note(facts, delivery)
        on_delivery(delivery)

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:  # noqa: ARG002
        """The report."""
        return self._report

"""A tracker that keeps what it is told, and delivers it, or not, as a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from eibench_ray.tracking.tracker import Delivery, Progress, SampleRow, Target, TrackedCell, TrackingReport

ONLINE = Target("online", "https://api.wandb.ai", "eibench")
OFFLINE = Target("offline", "https://api.wandb.ai", "eibench")


class RecordingTracker:
    """Delivers at once.

    Args:
        target: where it says that it sends.
        folder: of its offline runs.
        undelivered: names of cells that it loses.

    Attributes:
        told: cells with their scores and samples.
    """

    def __init__(self, target: Target | None, folder: Path = Path("/nowhere"), undelivered: Sequence[str] = ()) -> None:
        self.target = target
        self.told: list[tuple[TrackedCell, Mapping[str, float | int], Sequence[SampleRow]]] = []
        self._folder = folder
        self._undelivered = undelivered
        self._report = TrackingReport(reason="a test's reason")

    def progress(self, cell: TrackedCell, progress: Progress) -> None:
        """Do nothing."""

    def finish(
        self,
        cell: TrackedCell,
        scores: Mapping[str, float | int],
        samples: Sequence[SampleRow],
        on_delivery: Callable[[Delivery], None],
    ) -> None:
        """Keep it, and deliver."""
        self.told.append((cell, scores, samples))
        if cell.name in self._undelivered or self.target is None:
            self._report.missing[cell.name] = "a test's reason"
            return
        is_offline = self.target.mode == "offline"
        where = (None, str(self._folder)) if is_offline else (f"https://wandb.ai/{cell.key[:4]}", None)
        delivery = Delivery("offline" if is_offline else "online", cell.key[:32], *where)
        self._report.note(cell, delivery)
        on_delivery(delivery)

    def close(self, deadline_s: float, say: Callable[[str], None]) -> TrackingReport:  # noqa: ARG002
        """The report."""
        return self._report

"""One replica of a replica_set, and what it is doing."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from eibench_ray.driver.replica_factory import ReplicaHandle
from eibench_ray.driver.run_progress import ReplicaStatus
from eibench_ray.plan.slices import Slice
from eibench_ray.worker.probe import PoisonProbe
from eibench_ray.worker.row_attempts import ReplicaCounts


@dataclass(slots=True)
class ReplicaState:
    """A replica and what it is doing.

    Attributes:
        ended: set once it is lost or told to stop; the rest is to give back what it holds.
    """

    handle: ReplicaHandle
    began_at: float  # when its start was decided
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    is_ready: bool = False
    is_lost: bool = False
    pause_s: float = 0.0  # how long its place is left alone after that, because somebody else is on it
    slices: dict[Slice, PoisonProbe | None] = field(
        default_factory=dict
    )  # what it holds; a suspected slice with its probe
    has_answered: bool = False  # whether it has answered any row
    placed_at: float | None = None  # when it got its resources; None: not yet
    doing: str = ""  # what its start waits for, as far as it says
    rows_reported: int = 0
    counts_so_far: ReplicaCounts = field(default_factory=ReplicaCounts)  # what it had finished when it last answered

    @property
    def engine(self) -> str:
        """Key of its engine."""
        return self.handle.spec.key

    @property
    def status(self) -> ReplicaStatus:
        """The replica's part of the progress display."""
        rows: Counter[str] = Counter()
        for slice_, probe in self.slices.items():
            rows[slice_.step] += len(probe.rows) if probe else slice_.num_rows
        is_placed = self.placed_at is not None
        return ReplicaStatus(self.engine, self.is_ready, self.counts_so_far, self.rows_reported, is_placed, rows)

"""One replica of a crew, and what it is doing."""

from __future__ import annotations

import asyncio
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
        pause_s: how long its place is left alone after that, because somebody else is on it.
        began_at: when its start was decided.
        tally: what it had finished when it last answered.
        slices: what it holds; a suspect with its probe.
        has_answered: whether it has answered any row.
        placed_at: when it got its resources; None: not yet.
        doing: what its start waits for, as far as it says.
    """

    handle: ReplicaHandle
    began_at: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    is_ready: bool = False
    is_lost: bool = False
    pause_s: float = 0.0
    slices: dict[Slice, PoisonProbe | None] = field(default_factory=dict)
    has_answered: bool = False
    placed_at: float | None = None
    doing: str = ""
    rows_reported: int = 0
    tally: ReplicaCounts = field(default_factory=ReplicaCounts)

    @property
    def engine(self) -> str:
        """Key of its engine."""
        return self.handle.spec.key

    @property
    def standing(self) -> ReplicaStatus:
        """The replica's part of the progress display."""
        return ReplicaStatus(self.engine, self.is_ready, self.tally, self.rows_reported)

"""What the policy sees: engines with their backlog, replicas, and free resources. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Where a replica is in its life."""

    STARTING = "starting"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Resources:
    """Cores and GPUs."""

    cpus: float
    gpus: float

    def covers(self, need: Resources) -> bool:
        """Whether `need` fits into this."""
        return self.cpus >= need.cpus and self.gpus >= need.gpus

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.cpus + other.cpus, self.gpus + other.gpus)

    def __sub__(self, other: Resources) -> Resources:
        return Resources(self.cpus - other.cpus, self.gpus - other.gpus)


NOTHING = Resources(0, 0)


@dataclass(frozen=True, slots=True)
class EngineView:
    """One engine's backlog.

    Attributes:
        ready: slices that can be asked now, in the order in which they are handed out; rows of each.
        blocked_rows: rows that wait for another step.
        need: what one replica reserves.
        load_s: seconds that a replica takes to load.
        expected_s: seconds that the whole backlog would take one replica, its load included.
        max_replicas: copies that may run at the same time.
    """

    key: str
    ready: tuple[int, ...]
    blocked_rows: int
    need: Resources
    load_s: float
    expected_s: float
    max_replicas: int


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica.

    Attributes:
        capacity: rows that it works on at once; 0 until it is ready.
        in_flight: rows of the tasks that it has.
    """

    id: int
    engine: str
    phase: Phase
    capacity: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class State:
    """Everything a decision rests on.

    Attributes:
        free: what can be reserved now.
        leaving: what replicas that are being stopped still hold.
    """

    engines: Mapping[str, EngineView]
    replicas: tuple[ReplicaView, ...]
    free: Resources
    leaving: Resources

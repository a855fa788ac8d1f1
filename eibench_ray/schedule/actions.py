"""What the scheduler tells its caller to do."""

from __future__ import annotations

from dataclasses import dataclass

from eibench_ray.store.resume import Slice


@dataclass(frozen=True, slots=True)
class Start:
    """Start a replica.

    Attributes:
        replica: its number, unique in the run.
        nodes: ids of the nodes of its bundles, one each; empty where it reserves nothing.
    """

    replica: int
    engine: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Feed:
    """Give slices to a ready replica, in this order.

    Attributes:
        is_probe: it is one, and a suspect: the replica has nothing else, and gets nothing else meanwhile.
    """

    replica: int
    slices: tuple[Slice, ...]
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a replica that has nothing in flight."""

    replica: int


Action = Start | Feed | Stop

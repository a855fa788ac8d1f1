"""The scheduler's actions, for its caller to carry out."""

from __future__ import annotations

from dataclasses import dataclass

from eibench_ray.plan.slices import Slice


@dataclass(frozen=True, slots=True)
class Start:
    """Start a replica."""

    replica: int  # its number, unique in the run
    engine: str
    nodes: tuple[str, ...]  # ids of the nodes of its bundles, one each; empty where it reserves nothing


@dataclass(frozen=True, slots=True)
class Feed:
    """Give slices to a ready replica, in this order."""

    replica: int
    slices: tuple[Slice, ...]
    is_probe: bool = False  # the replica has nothing else, and gets nothing else meanwhile


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a replica that has nothing in flight, also one that still loads."""

    replica: int


Action = Start | Feed | Stop

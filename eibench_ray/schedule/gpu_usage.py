"""The GPU time of a run as sums and spans: by kind, by replica, by cell.

Every GPU-second of every node that joined is in exactly one kind (`TimeKind` defines them); the sums are of what the
run kept, without what it had given back. A run without GPUs is counted in replica-seconds instead.

A cell's part: what a step took (generating, judging, tail) is divided equally between the cells that read the step;
what else an engine's replicas held GPUs for (waiting, loading, idle, leaving) equally between the cells that use the
engine. GPUs that no replica held are nobody's. So the cells of a plan together have what its replicas held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.schedule.replica_meter import TimeKind, TimeSpan

_OF_STEPS = (TimeKind.GENERATING, TimeKind.JUDGING, TimeKind.TAIL)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; numbered within its node by this account, which may differ from CUDA's numbers."""

    node: str
    index: int


@dataclass(frozen=True, slots=True)
class ReplicaUse:
    """One replica's use of its time.

    Attributes:
        start, end: from the decision to start it until its resources were free again.
        spans: from start to end without gaps; where slices of both kinds are in flight, the kind with more rows.
    """

    replica: int
    engine: str
    model: str
    nodes: tuple[str, ...]  # ids; empty where it reserved nothing or nobody said
    gpus: tuple[Gpu, ...]
    start: float
    end: float
    spans: tuple[TimeSpan, ...]
    seconds: Mapping[TimeKind, float]  # by kind, one second per second, however many GPUs it holds
    step_seconds: Mapping[str, Mapping[TimeKind, float]]  # the part of each step in it: step id -> kind -> seconds


@dataclass(frozen=True, slots=True)
class Unheld:
    """GPUs of one node that no replica held, and why."""

    gpus: tuple[Gpu, ...]
    span: TimeSpan

    @property
    def seconds(self) -> float:
        """GPU-seconds."""
        return len(self.gpus) * (self.span.end - self.span.start)


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """The account of a run.

    Attributes:
        start, end: first and last moment, in seconds of the ledger's clock.
    """

    start: float
    end: float
    duration_s: float  # between them, without the time between a run and its resumption in the same ledger
    unit: Literal["GPU", "replica"]  # what the sums count: GPU-seconds, or replica-seconds where the run has no GPU
    num_gpus: int  # the most that were there at the same time
    nodes: Mapping[str, str]  # id -> name for people
    replicas: tuple[ReplicaUse, ...]  # by their start
    unheld: tuple[Unheld, ...]

    def weight(self, replica: ReplicaUse) -> int:
        """The weight of a second of a replica: its GPUs, or one."""
        return len(replica.gpus) if self.unit == "GPU" else 1

    def seconds(self) -> dict[TimeKind, float]:
        """The sums of what was kept, by kind, in the account's unit; kinds that did not occur are left out."""
        sums: dict[TimeKind, float] = defaultdict(float)
        for replica in self.replicas:
            _add(sums, replica.seconds, self.weight(replica))
        for unheld in self.unheld:
            sums[unheld.span.kind] += unheld.seconds
        return {kind: sums[kind] for kind in TimeKind if sums[kind] and kind is not TimeKind.GIVEN_BACK}

    @property
    def given_back_s(self) -> float:
        """GPU-seconds of nodes that were there and that the run needed no more."""
        return sum(unheld.seconds for unheld in self.unheld if unheld.span.kind is TimeKind.GIVEN_BACK)


@dataclass(frozen=True, slots=True)
class CellUse:
    """A cell's part, by kind, in the account's unit."""

    cell: Cell
    seconds: Mapping[TimeKind, float]


def step_roles(plan: Plan) -> dict[str, TimeKind]:
    """Step id -> whether its time is generating or judging."""
    judging = {step for cell in plan.cells for step in cell.verdicts}
    return {step: TimeKind.JUDGING if step in judging else TimeKind.GENERATING for step in plan.steps}


def share_cells(usage: GpuUsage, plan: Plan) -> list[CellUse]:
    """Each cell's part of what the replicas held, in the plan's order."""
    users: dict[str, set[int]] = defaultdict(set)  # step id or engine key -> cells, by their place in the plan
    for place, cell in enumerate(plan.cells):
        for step in cell.steps:
            users[step].add(place)
            users[plan.steps[step].engine].add(place)
    spent: dict[str, dict[TimeKind, float]] = defaultdict(lambda: defaultdict(float))
    for replica in usage.replicas:
        weight = usage.weight(replica)
        for step, seconds in replica.step_seconds.items():
            _add(spent[step], seconds, weight)
        rest = {kind: seconds for kind, seconds in replica.seconds.items() if kind not in _OF_STEPS}
        _add(spent[replica.engine], rest, weight)
    parts: list[dict[TimeKind, float]] = [defaultdict(float) for _ in plan.cells]
    for name, seconds in spent.items():
        for place in users[name]:
            _add(parts[place], seconds, 1 / len(users[name]))
    return [
        CellUse(cell, {kind: part[kind] for kind in TimeKind if part[kind]})
        for cell, part in zip(plan.cells, parts, strict=True)
    ]


def _add(sums: dict[TimeKind, float], seconds: Mapping[TimeKind, float], weight: float) -> None:
    for kind, value in seconds.items():
        sums[kind] += value * weight

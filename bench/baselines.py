"""Baselines for the scheduler: the two ways in which such sweeps are run without one. Pure.

Both meet the same case as the shipped policy: the same cluster, speeds and reply lengths.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eibench_ray.errors import PlanError
from eibench_ray.estimate.simulated_case import Case, SimulationResult, chance_of_deaths
from eibench_ray.estimate.simulated_replica import SimulatedReplica
from eibench_ray.estimate.simulator import REAP_S, STOP_S, Record, Simulator
from eibench_ray.plan.graph import Cell
from eibench_ray.plan.slices import Slice
from eibench_ray.schedule.decode_speed import DecodeSpeed
from eibench_ray.schedule.gpu_usage import step_roles
from eibench_ray.schedule.node_capacity import NodeCapacity
from eibench_ray.schedule.replica_meter import TimeKind
from eibench_ray.schedule.resources import EngineProfile, Need, Node


def two_phase(case: Case, expected: Mapping[str, EngineProfile], record: Record | None = None) -> SimulationResult:
    """All generation, then all judging: the shipped policy twice, each time on an empty cluster.

    The judges begin when the last answer is there; that the cluster must be emptied in between is not counted.

    Args:
        case: what is true.
        expected: what the scheduler is told of the engines.
        record: is given every event of both ledgers, in order, on one clock.

    Raises:
        PlanError: something is left that fits on no node.
    """
    outcome = case.new_outcome()
    roles = step_roles(case.plan)
    for kind in (TimeKind.GENERATING, TimeKind.JUDGING):
        phase = case.only({step for step in case.lengths if roles[step] is kind}, outcome.wall_clock_s)
        if not phase.lengths:
            continue
        done = Simulator(phase, expected, record and _later(record, outcome.wall_clock_s)).run()
        outcome.wall_clock_s += done.wall_clock_s
        outcome.loads += done.loads
        outcome.deaths += done.deaths
        outcome.decision_us += done.decision_us
    return outcome


def _later(record: Record, seconds: float) -> Record:
    return lambda event: record(event | {"time": event["time"] + seconds})


def reload_per_cell(case: Case, record: Record | None = None) -> SimulationResult:
    """One job per cell, in the plan's order, each on the first node that has room for it; nothing is shared.

    A job holds the GPUs of its largest engine from its first load to its end. It loads the engines of its steps one
    after the other, and asks of each all rows of its step. What another cell has asked already is asked again. Where a
    replica dies, the job loads it again and repeats the step that was cut short. Limits on an engine's copies do not
    bind jobs, which know nothing of each other.

    Raises:
        PlanError: a job fits on no node.
    """
    return _Queue(case).run(record)


@dataclass(frozen=True, slots=True)
class _Job:
    """One cell: `parts` are its steps as (engine, the steps that it does on one load), inputs first."""

    need: Need
    parts: tuple[tuple[str, tuple[str, ...]], ...]


class _Queue:
    """Jobs that wait for the first node with room, in order."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._chance = chance_of_deaths(case.world)
        self._outcome = case.new_outcome()
        self._step_s = {step: self._measure(step) for step in case.lengths}
        self._ledger: list[dict[str, Any]] = []
        self._replicas = itertools.count(1)

    def run(self, record: Record | None) -> SimulationResult:
        """The result of it."""
        waiting = deque(job for cell in self._case.plan.cells if (job := self._job(cell)).parts)
        order = itertools.count()
        events: list[tuple[float, int, Node | None, Need, tuple[str, ...]]] = []
        self._tell(0.0, "run_started")
        for at, node in self._case.world.nodes:
            heapq.heappush(events, (at, next(order), node, Need(), ()))
            self._tell(at, "node_joined", node=node.id, name=node.name, cpus=node.total.cpus, gpus=node.total.gpus)
        places = NodeCapacity()
        while waiting:
            if not events:
                raise PlanError("a job is left to do, and no node has room for it: simulate larger nodes")
            now, _, joined, need, freed = heapq.heappop(events)
            if joined is not None:
                places.add(joined)
            else:
                places.release(need, freed)
            while waiting and (nodes := places.find(waiting[0].need)) is not None:
                job = waiting.popleft()
                places.reserve(job.need, nodes)
                heapq.heappush(events, (self._do(job, nodes, now), next(order), None, job.need, nodes))
        self._tell(self._outcome.wall_clock_s, "run_ended")
        if record is not None:
            for event in sorted(self._ledger, key=lambda event: event["time"]):
                if event["time"] <= self._outcome.wall_clock_s:
                    record(event)
        return self._outcome

    def _job(self, cell: Cell) -> _Job:
        engine_of = {step: self._case.plan.steps[step].engine for step in cell.steps if step in self._case.lengths}
        groups = itertools.groupby(engine_of, key=engine_of.__getitem__)
        parts = tuple((engine, tuple(steps)) for engine, steps in groups)
        needs = [self._case.world.engines[engine].need for engine, _ in parts]
        largest = max(needs, key=lambda need: need.gpus, default=Need())
        return _Job(Need(largest.bundles, max((need.gpu_memory_gb for need in needs), default=0.0)), parts)

    def _do(self, job: _Job, nodes: tuple[str, ...], now: float) -> float:
        """The second at which a job that starts now leaves its node."""
        for engine, steps in job.parts:
            left = deque(steps)
            while left:
                now = self._use(engine, left, job, nodes, now)
        return now

    def _use(self, engine: str, left: deque[str], job: _Job, nodes: tuple[str, ...], start: float) -> float:
        """One replica from its start until it has left, which takes what it has finished off `left`."""
        profile, spec = self._case.world.engines[engine], self._case.plan.engines[engine]
        facts = {"replica": next(self._replicas), "engine": engine, "model": spec.name}
        self._tell(start, "replica_starting", **facts, nodes=list(nodes), gpus=job.need.gpus)
        self._tell(start, "replica_placed", replica=facts["replica"])
        death = start + self._draw_life_s()
        now = start + profile.load_s
        if now < death:
            self._outcome.loads += spec.is_load
            self._tell(now, "replica_ready", **facts, capacity=profile.capacity, load_s=profile.load_s)
        while left and now < death:
            now = self._ask(left, facts["replica"], now, death)
        if left:
            self._outcome.deaths += 1
            self._tell(death, "replica_lost", **facts, reason="simulated")
            end = death + REAP_S
        else:
            self._outcome.wall_clock_s = max(self._outcome.wall_clock_s, now)
            self._tell(now, "replica_stopping", **facts)
            end = now + STOP_S
        self._tell(end, "replica_stopped", **facts)
        return end

    def _ask(self, left: deque[str], replica: Any, now: float, death: float) -> float:
        """The second at which all rows of the first step that is left are there, or would be."""
        step = left[0]
        sent = {"replica": replica, "step": step, "slice": 0}
        rows = int((self._case.lengths[step] > 0).sum())
        self._tell(now, "slice_sent", **sent, rows=rows)
        end = now + self._step_s[step]
        if end <= death:
            left.popleft()
            self._tell(end, "slice_committed", **sent, new=rows, kept=0, errors=0, seconds=end - now)
        return end

    def _draw_life_s(self) -> float:
        """Seconds that the next replica lives, as under the shipped policy."""
        is_short = self._chance.random() < self._case.world.failing
        return self._chance.random() * self._case.lower_bound_s if is_short else math.inf

    def _measure(self, step: str) -> float:
        """Seconds that one replica takes for all rows of a step."""
        profile = self._case.world.engines[self._case.plan.steps[step].engine]
        lengths = self._case.lengths[step]
        machine = SimulatedReplica(DecodeSpeed.of(profile), 0.0)
        machine.add(Slice(step, 0, 0, len(lengths)), lengths[lengths > 0].tolist(), 0.0)
        return machine.next_end() or 0.0

    def _tell(self, time: float, event: str, **facts: Any) -> None:
        self._ledger.append({"time": time, "event": event, **facts})

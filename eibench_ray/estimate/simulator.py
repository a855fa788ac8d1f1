"""The scheduler on a cluster that only computes: the very code of a real run under a clock of its own."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from eibench_ray.errors import PlanError
from eibench_ray.estimate.lower_bound import Lengths
from eibench_ray.estimate.simulated_case import Case, SimulationResult, chance_of_deaths
from eibench_ray.estimate.simulated_replica import SimulatedReplica
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.schedule.actions import Action, Feed, Start
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.decode_speed import DecodeSpeed
from eibench_ray.schedule.resources import EngineProfile
from eibench_ray.schedule.scheduler import REVIEW_S, Scheduler
from eibench_ray.schedule.scheduler_state import PROGRESS_S

STOP_S = 2.0  # from the decision to stop a replica until its GPUs are free
REAP_S = 10.0  # likewise for one that died
STUCK_S = 10_000.0  # without an event: longer than the scheduler leaves between two reviews

Record = Callable[[dict[str, Any]], None]


class Simulator:
    """One simulated run under the shipped policy."""

    def __init__(self, case: Case, expected: Mapping[str, EngineProfile], record: Record | None = None) -> None:
        self._plan = case.plan
        self._world = case.world
        self._lengths = case.lengths
        self._record = record
        self._chance = chance_of_deaths(case.world)
        self._scheduler = Scheduler(Backlog(case.plan, case.work), expected)
        self._machines: dict[int, SimulatedReplica] = {}
        self._engine_of: dict[int, str] = {}
        self._versions: dict[int, int] = {}
        self._sent_at: dict[Slice, float] = {}
        self._events: list[tuple[float, int, str, Any]] = []
        self._order = itertools.count()
        self.now = 0.0
        self.outcome = case.new_outcome()
        for at, node in case.world.nodes:
            self._push(at, "join", node)
        self._next_progress_at = PROGRESS_S

    def run(self) -> SimulationResult:
        """Runs the simulation to its end.

        Raises:
            PlanError: something is left that fits on no node.
        """
        self._tell("run_started")
        last_event = 0.0
        while not self._scheduler.is_done:
            if not self._events and self.now > last_event + STUCK_S:
                raise PlanError("something is left to do, and no node has room for it: simulate larger nodes")
            if self._events:
                self.now = max(self.now, min(self._events[0][0], self.now + REVIEW_S))
            else:  # by hundredths of the silence: 500 reviews instead of 5,000 before it is known that nothing comes
                self.now += max(REVIEW_S, 0.01 * (self.now - last_event))
            self._tell_progress()
            while self._events and self._events[0][0] <= self.now:
                _, _, kind, subject = heapq.heappop(self._events)
                self._happen(kind, subject)
                last_event = self.now
            self._decide()
        self.outcome.wall_clock_s = self.now
        self._tell("run_ended")
        return self.outcome

    def _tell_progress(self) -> None:
        """Says how far each replica is, as a driver does that asks them all now and then."""
        if self.now >= self._next_progress_at:
            self._next_progress_at = self.now + PROGRESS_S
            for replica, machine in self._machines.items():
                self._scheduler.rows_finished(replica, machine.rows_done(self.now))

    def _decide(self) -> None:
        started = time.perf_counter_ns()
        actions = self._scheduler.decide(self.now)
        self.outcome.decision_us.append((time.perf_counter_ns() - started) / 1000)
        for action in actions:
            self._carry_out(action)
        if self.outcome.gpus_until_s is None and not self._scheduler.needs_gpus:
            self.outcome.gpus_until_s = self.now
            self._tell("gpus_released", gpus=self._scheduler.places.num_gpus)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Start(replica, engine, nodes):
                self._start(replica, engine, nodes)
            case Feed(replica, slices, _):
                for slice_ in slices:
                    self._tell(
                        "slice_sent", replica=replica, step=slice_.step, slice=slice_.index, rows=slice_.num_rows
                    )
                    self._sent_at[slice_] = self.now
                    self._machines[replica].add(slice_, self._tokens(slice_).tolist(), self.now)
                self._expect_end(replica)
            case _:
                self._tell("replica_stopping", replica=action.replica, engine=self._engine_of[action.replica])
                self._machines.pop(action.replica, None)
                self._versions.setdefault(action.replica, -1)  # it may have been loading
                self._push(self.now + STOP_S, "gone", action.replica)

    def _start(self, replica: int, engine: str, nodes: tuple[str, ...]) -> None:
        profile = self._world.engines[engine]
        self._engine_of[replica] = engine
        self._tell("replica_starting", **self._facts(replica), nodes=list(nodes), gpus=profile.need.gpus)
        self._tell("replica_placed", replica=replica)
        self._push(self.now + profile.load_s, "ready", replica)
        if self._chance.random() < self._world.failing:
            self._push(self.now + self._chance.random() * self.outcome.lower_bound_s, "die", replica)

    def _happen(self, kind: str, subject: Any) -> None:
        match kind:
            case "join":
                self._scheduler.add_node(subject)
                total = subject.total
                self._tell("node_joined", node=subject.id, name=subject.name, cpus=total.cpus, gpus=total.gpus)
            case "ready" if subject in self._engine_of:
                self._ready(subject)
            case "end":
                self._end(*subject)
            case "die" if subject in self._engine_of:
                self._die(subject)
            case "gone":
                self._tell("replica_stopped", replica=subject, engine=self._engine_of.pop(subject))
                self._scheduler.replica_gone(subject)

    def _ready(self, replica: int) -> None:
        engine = self._engine_of[replica]
        if replica in self._versions:
            return  # it died, or was stopped, while it loaded
        profile = self._world.engines[engine]
        self._versions[replica] = 0
        self._machines[replica] = SimulatedReplica(DecodeSpeed.of(profile), self.now)
        self.outcome.loads += self._plan.engines[engine].is_load
        self._tell("replica_ready", **self._facts(replica), capacity=profile.capacity, load_s=profile.load_s)
        self._scheduler.replica_ready(replica, profile.capacity, self.now)

    def _end(self, replica: int, version: int) -> None:
        if self._versions.get(replica) != version or replica not in self._machines:
            return
        slice_ = self._machines[replica].pop(self.now)
        weighted, profile = float(self._tokens(slice_).sum()), self._world.engines[self._engine_of[replica]]
        tokens = round(weighted / profile.weight(slice_.step))
        self._tell(
            "slice_committed",
            replica=replica,
            step=slice_.step,
            slice=slice_.index,
            new=slice_.num_rows,
            kept=0,
            errors=0,
            completion_tokens=tokens,
            seconds=self.now - self._sent_at.pop(slice_),
        )
        engine_s = weighted / profile.tokens_per_s
        asked = AskedWork(slice_.num_rows, 0, tokens, 0, engine_s, profile.capacity * engine_s)
        self._scheduler.slice_finished(replica, slice_, tokens, asked)
        self._expect_end(replica)

    def _die(self, replica: int) -> None:
        if self._versions.get(replica) is not None and replica not in self._machines:
            return  # it was stopped before
        self._versions[replica] = -1
        if (machine := self._machines.pop(replica, None)) is not None:
            for slice_ in machine.slices:
                self._tell("slice_returned", replica=replica, step=slice_.step, slice=slice_.index)
        self.outcome.deaths += 1
        self._tell("replica_lost", **self._facts(replica), reason="simulated")
        self._scheduler.replica_lost(replica, self.now, is_blamed=True)
        self._push(self.now + REAP_S, "gone", replica)

    def _expect_end(self, replica: int) -> None:
        self._versions[replica] += 1
        end = self._machines[replica].next_end()
        if end is not None:
            self._push(end, "end", (replica, self._versions[replica]))

    def _push(self, at: float, kind: str, subject: Any) -> None:
        heapq.heappush(self._events, (at, next(self._order), kind, subject))

    def _tell(self, event: str, **facts: Any) -> None:
        if self._record is not None:
            self._record({"time": self.now, "event": event, **facts})

    def _facts(self, replica: int) -> dict[str, Any]:
        engine = self._engine_of[replica]
        return {"replica": replica, "engine": engine, "model": self._plan.engines[engine].name}

    def _tokens(self, slice_: Slice) -> Lengths:
        return self._lengths[slice_.step][slice_.rows]

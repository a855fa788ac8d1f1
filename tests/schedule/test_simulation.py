"""The policy and the backlog on a simulated cluster: runs end, nothing is oversubscribed, loads are bounded."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.config.schema import EchoEngine, Expectation
from eibench_ray.plan.graph import DatasetSpec, EngineSpec, Plan, Prompt, Step
from eibench_ray.records import Sampling
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.policy import Feed, Start, decide
from eibench_ray.schedule.state import NOTHING, EngineView, Phase, ReplicaView, Resources, State
from eibench_ray.store.resume import Slice, StepWork, cut


@dataclass(frozen=True)
class Case:
    """A sweep and a cluster: models that answer, judges that read the answers, and how long everything takes."""

    models: int
    judges: int
    num_rows: int
    slice_rows: tuple[int, ...]  # per engine
    gpus: tuple[int, ...]  # per engine
    capacity: int
    max_replicas: int
    spare_gpus: int  # beyond the largest engine's
    load_s: float
    seed: int

    @property
    def engines(self) -> list[str]:
        return [f"e{number}" for number in range(self.models + self.judges)]

    @property
    def total(self) -> Resources:
        return Resources(64, max(self.gpus[: len(self.engines)]) + self.spare_gpus)

    def need(self, engine: str) -> Resources:
        return Resources(1, self.gpus[int(engine[1:])])


CASES = st.builds(
    Case,
    models=st.integers(1, 3),
    judges=st.integers(0, 2),
    num_rows=st.integers(1, 30),
    slice_rows=st.tuples(*[st.integers(1, 9)] * 5),
    gpus=st.tuples(*[st.integers(0, 3)] * 5),
    capacity=st.integers(1, 12),
    max_replicas=st.integers(1, 3),
    spare_gpus=st.integers(0, 6),
    load_s=st.floats(1, 60),
    seed=st.integers(0, 2**16),
)


@dataclass
class Replica:
    engine: str
    is_ready: bool = False
    slices: list[Slice] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        return sum(slice_.num_rows for slice_ in self.slices)


class Simulation:
    """The driver's loop with a clock of its own."""

    def __init__(self, case: Case, deaths: int = 0) -> None:
        self.case = case
        self.deaths = deaths
        self.chooser = random.Random(case.seed)
        self.plan = _plan(case)
        work = {
            name: StepWork(case.num_rows, 0, 0, tuple(cut(name, case.num_rows, case.slice_rows[int(step.engine[1:])])))
            for name, step in self.plan.steps.items()
        }
        self.num_slices = {
            engine: sum(len(work[name].todo) for name, step in self.plan.steps.items() if step.engine == engine)
            for engine in case.engines
        }
        self.backlog = Backlog(self.plan, work)
        self.free, self.leaving = case.total, NOTHING
        self.replicas: dict[int, Replica] = {}
        self.ids, self.ticks = itertools.count(), itertools.count()
        self.loads = dict.fromkeys(case.engines, 0)
        self.finished: list[Slice] = []
        self.now = 0.0
        self.events: list[tuple[float, int, str, int, Slice | None]] = []

    def run(self) -> None:
        while not self.backlog.is_empty:
            while actions := decide(self.state()):
                for action in actions:
                    self.carry_out(action)
            self.check_work_conserving()
            assert self.events, "something is left, and nothing will happen any more"
            self.now, _, kind, replica_id, slice_ = heapq.heappop(self.events)
            self.happen(kind, replica_id, slice_)

    def state(self) -> State:
        engines = {
            key: EngineView(
                key,
                self.backlog.ready(key),
                self.backlog.blocked_rows(key),
                self.case.need(key),
                self.case.load_s,
                self.case.load_s + sum(self.backlog.ready(key)) + self.backlog.blocked_rows(key),
                self.case.max_replicas,
            )
            for key in self.case.engines
        }
        views = tuple(
            ReplicaView(
                number,
                replica.engine,
                Phase.READY if replica.is_ready else Phase.STARTING,
                self.case.capacity if replica.is_ready else 0,
                replica.in_flight,
            )
            for number, replica in self.replicas.items()
        )
        return State(engines, views, self.free, self.leaving)

    def carry_out(self, action: object) -> None:
        match action:
            case Start(engine):
                number = next(self.ids)
                self.replicas[number] = Replica(engine)
                self.free -= self.case.need(engine)
                self.loads[engine] += 1
                assert min(self.free.cpus, self.free.gpus) >= 0, "more was started than is there"
                assert sum(replica.engine == engine for replica in self.replicas.values()) <= self.case.max_replicas
                self.soon("ready", number, self.case.load_s)
            case Feed(number, num_tasks):
                replica = self.replicas[number]
                assert replica.is_ready
                for _ in range(num_tasks):
                    assert replica.in_flight < self.case.capacity, "a full replica was fed"
                    slice_ = self.backlog.take(replica.engine)
                    replica.slices.append(slice_)
                    self.soon("finished", number, slice_.num_rows * self.chooser.uniform(0.1, 5), slice_)
            case _:
                replica = self.replicas.pop(action.replica)
                assert replica.is_ready
                assert not replica.slices, "a replica with rows in flight was stopped"
                self.leaving += self.case.need(replica.engine)
                self.soon(f"stopped {replica.engine}", action.replica, self.chooser.uniform(0.1, 10))

    def happen(self, kind: str, number: int, slice_: Slice | None) -> None:
        replica = self.replicas.get(number)
        if kind.startswith("stopped"):
            self.free += self.case.need(kind.split()[1])
            self.leaving -= self.case.need(kind.split()[1])
        elif replica is None:
            return  # it died meanwhile
        elif self.deaths and self.chooser.random() < 0.3:
            self.deaths -= 1
            del self.replicas[number]
            self.free += self.case.need(replica.engine)
            for lost in replica.slices:
                self.backlog.give_back(lost)
        elif kind == "ready":
            replica.is_ready = True
        elif slice_ is not None:
            replica.slices.remove(slice_)
            self.backlog.finish(slice_)
            self.finished.append(slice_)

    def soon(self, kind: str, number: int, seconds: float, slice_: Slice | None = None) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.ticks), kind, number, slice_))

    def check_work_conserving(self) -> None:
        served = {replica.engine for replica in self.replicas.values()}
        for engine in self.case.engines:
            if self.backlog.ready(engine) and engine not in served:
                assert not self.free.covers(self.case.need(engine)), f"{engine} has work and room, and is not started"


def _plan(case: Case) -> Plan:
    """Every model answers; every judge reads every model's answers."""
    engines = {
        key: EngineSpec(key, key, EchoEngine(kind="echo"), "cuda", None, int(case.need(key).gpus), Expectation())
        for key in case.engines
    }
    steps = {}
    for model in case.engines[: case.models]:
        steps[f"answer {model}"] = _step(f"answer {model}", model, {})
        for judge in case.engines[case.models :]:
            name = f"verdict {model} {judge}"
            steps[name] = _step(name, judge, {"answer": f"answer {model}"})
    return Plan("test", engines, {"faces": DatasetSpec("faces", "faces", None, case.num_rows, True)}, steps, ())


def _step(name: str, engine: str, inputs: dict[str, str]) -> Step:
    prompt = Prompt(None, "", image=False, is_official=False)
    return Step(name, name, engine, prompt, Sampling(0.0, 1.0, 8), 0, "faces", inputs)


@given(CASES)
def test_a_run_ends_with_every_slice_finished_once(case: Case) -> None:
    simulation = Simulation(case)
    simulation.run()
    assert len(simulation.finished) == len(set(simulation.finished)) == sum(simulation.num_slices.values())


@given(CASES)
def test_every_load_finishes_a_slice(case: Case) -> None:
    simulation = Simulation(case)
    simulation.run()
    assert all(1 <= simulation.loads[engine] <= simulation.num_slices[engine] for engine in case.engines)


@given(CASES)
def test_an_engine_is_loaded_once_where_all_of_them_fit(case: Case) -> None:
    gpus = sum(case.gpus)
    simulation = Simulation(Case(**{**vars(case), "spare_gpus": gpus, "max_replicas": 1}))
    simulation.run()
    assert simulation.loads == dict.fromkeys(case.engines, 1)


@given(CASES)
def test_models_are_loaded_once_whatever_the_room(case: Case) -> None:
    simulation = Simulation(Case(**{**vars(case), "max_replicas": 1}))
    simulation.run()
    assert all(simulation.loads[model] == 1 for model in case.engines[: case.models])


@given(CASES, st.integers(1, 9))
def test_a_run_ends_although_replicas_die(case: Case, deaths: int) -> None:
    simulation = Simulation(case, deaths)
    simulation.run()
    assert len(simulation.finished) == len(set(simulation.finished)) == sum(simulation.num_slices.values())

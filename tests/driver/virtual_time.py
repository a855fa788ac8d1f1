"""A replica set under a virtual clock: real scheduler, tasks and store, engines that only wait.."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from eibench_ray.datasets.dataset import Dataset, DatasetIndex, open_dataset
from eibench_ray.driver.background_tasks import BackgroundTasks
from eibench_ray.driver.cluster_nodes import NodeWatch
from eibench_ray.driver.failure_policy import FailurePolicy
from eibench_ray.driver.replica_factory import ReplicaFactory
from eibench_ray.driver.replica_set import ReplicaSet
from eibench_ray.driver.run_context import RunContext
from eibench_ray.driver.run_events import Ledger
from eibench_ray.driver.run_progress import RunProgress, RunResult
from eibench_ray.estimate.engine_profiles import engine_profiles
from eibench_ray.plan.graph import EngineSpec, Step
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.request import Reply, Request
from eibench_ray.runs.measured_speeds import keep_speeds, read_measured
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.resources import QUEUE_FACTOR, Node
from eibench_ray.schedule.row_costs import RowCosts
from eibench_ray.schedule.scheduler import REVIEW_S, Scheduler
from eibench_ray.schedule.scheduler_state import PROGRESS_S
from eibench_ray.worker.replica import ReplicaFacts
from eibench_ray.worker.row_attempts import Asker, ReplicaCounts
from eibench_ray.worker.rows_in_flight import Drain
from eibench_ray.worker.task import TaskReport, run_task

CHUNKS = 8  # in which a reply is made: it slows down and speeds up with the batch
PICTURE_TOKENS = 64
BEFORE_S, AFTER_S = 6.0, 4.0  # of a run: Ray, and the end


class VirtualSelector:
    """Waits for nothing: where no thread is at work, the clock goes on to the next timer at once."""

    def __init__(self) -> None:
        self._inner = selectors.DefaultSelector()
        self.now = 0.0
        self.num_jobs = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or (timeout > 0 and self.num_jobs):
            return self._inner.select(0.01)
        self.now += max(0.0, timeout)
        return self._inner.select(0) if self.num_jobs else []  # nobody else wakes the loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on that clock."""

    def __init__(self) -> None:
        self.clock = VirtualSelector()
        super().__init__(cast("selectors.BaseSelector", self.clock))

    def time(self) -> float:
        return self.clock.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self.clock.num_jobs += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._end_job)
        return future

    def _end_job(self, _: object) -> None:
        self.clock.num_jobs -= 1


@dataclass(frozen=True)
class TrueEngine:
    """An engine as it truly is."""

    costs: RowCosts  # `token_s` and `busy_token_s` are alpha and beta of its decoding step
    seqs: int  # rows at once
    load_s: float = 0.0
    tokens: Mapping[str, float] = field(default_factory=dict)  # of a reply, by the step's word in its prompt
    per_min: float = math.inf  # requests that an endpoint lets through


class WaitingEngine:
    """Waits as long as a real one would work, in batches."""

    def __init__(self, true: TrueEngine) -> None:
        self._true = true
        self._places = asyncio.Semaphore(true.seqs)
        self._turn = asyncio.Lock()
        self._num_rows = 0
        self._next_at = 0.0

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        true, prompt = self._true, len(request.user.split()) + PICTURE_TOKENS * len(images)
        spread = 0.5 + int(request.digest[:4], 16) / 0xFFFF  # 0.5 to 1.5
        mean = next((many for word, many in true.tokens.items() if word in request.user), 20.0)
        tokens = max(1, round(mean * spread))
        if true.per_min < math.inf:
            now = asyncio.get_running_loop().time()
            self._next_at = max(now, self._next_at) + 60.0 / true.per_min
            await asyncio.sleep(self._next_at - now)
        async with self._places:
            self._num_rows += 1
            await asyncio.sleep(true.costs.request_s)
            async with self._turn:  # one prompt after the other
                await asyncio.sleep(true.costs.prompt_token_s * prompt + true.costs.picture_s * len(images))
            for _ in range(CHUNKS):
                tick_s = true.costs.token_s + true.costs.busy_token_s * self._num_rows
                await asyncio.sleep(tokens / CHUNKS * tick_s)
            self._num_rows -= 1
        return Reply("word " * tokens, "stop", prompt, tokens)


class WaitingReplica:
    """A replica, as its replica set sees it."""

    def __init__(self, replica_id: int, spec: EngineSpec, nodes: tuple[str, ...], world: World) -> None:
        self.id, self.spec, self.nodes, self._world = replica_id, spec, nodes, world
        self._true = world.engines[spec.name]
        self.counts = ReplicaCounts()
        capacity = math.ceil(self._true.seqs * QUEUE_FACTOR)
        slots = asyncio.Semaphore(capacity)
        engine = cast("Any", WaitingEngine(self._true))
        self._asker = Asker(engine, spec.name, slots, 1e6, world.run_id, self.counts)
        self._facts = ReplicaFacts(spec.name, capacity, self._true.load_s, "here", "here", 0, ())

    async def place(self, timeout_s: float, known: object) -> None:
        """It is placed at once."""

    async def start(self) -> ReplicaFacts:
        await asyncio.sleep(self._true.load_s)
        return self._facts

    async def run_task(self, step: Step, slice_: Slice, probe: None = None) -> TaskReport:
        dataset, index = self._world.datasets[step.dataset]
        return await run_task(step, slice_, dataset, index, self._world.sweep.store, self._asker, Drain(), probe=probe)

    async def end(self, timeout_s: float) -> bool:  # noqa: ARG002
        return True

    async def reap(self) -> str:
        return ""

    async def release(self) -> None:
        """Nothing is held."""


@dataclass
class World:
    """A run's surroundings."""

    sweep: PlannedSweep
    engines: Mapping[str, TrueEngine]  # by the model's name
    nodes: tuple[Node, ...]
    run_id: str = field(default_factory=lambda: f"2026-{time.time_ns()}-{secrets.token_hex(2)}")

    def __post_init__(self) -> None:
        opened = {name: open_dataset(spec.path) for name, spec in self.sweep.plan.datasets.items()}
        self.datasets: dict[str, tuple[Dataset, DatasetIndex]] = {
            name: (dataset, dataset.index()) for name, dataset in opened.items()
        }

    def reserve(self, replica_id: int, spec: EngineSpec, need: object, nodes: tuple[str, ...]) -> WaitingReplica:  # noqa: ARG002
        return WaitingReplica(replica_id, spec, nodes, self)

    def run(self, patch: pytest.MonkeyPatch) -> float:
        """Runs the sweep and keeps what it measures; the seconds that it took."""
        loop = VirtualLoop()
        with contextlib.closing(loop), patch.context() as patched:
            patched.setattr(time, "monotonic", loop.time)
            done = loop.run_until_complete(self._conduct())
            keep_speeds(self.sweep, self.run_id, done, 0.0, loop.time())
            return loop.time()

    async def _conduct(self) -> RunResult:
        """As the driver does, without Ray and without looking at nodes."""
        sweep, jobs, loop = self.sweep, BackgroundTasks(), asyncio.get_running_loop()
        await asyncio.sleep(BEFORE_S)
        for step, left in sweep.work.items():
            if left.todo:
                sweep.store.fix_slice_rows(step, sweep.slice_rows[step], {})
        config, counts = sweep.config.cluster, RunProgress(sweep.plan, sweep.work)
        profiles = engine_profiles(sweep.plan, config, self.nodes, read_measured(sweep.plan, sweep.store))
        counts.outcome.nodes, counts.outcome.began_at = self.nodes, loop.time()
        scheduler = Scheduler(Backlog(sweep.plan, sweep.work), profiles, self.nodes)
        path = Path(sweep.store.root) / f"ledger-{self.run_id}.jsonl"
        with contextlib.closing(Ledger(path)) as ledger:
            watch = NodeWatch(config)
            watch._nodes = {node.id: node for node in self.nodes}
            policy = FailurePolicy(config)
            context = RunContext(sweep.plan, config, profiles, scheduler, counts, policy, watch, jobs, ledger)
            replica_set = ReplicaSet(context, cast("ReplicaFactory", self))
            telling = asyncio.create_task(_tell_progress(replica_set, scheduler, jobs.wake))
            while not scheduler.is_done:
                replica_set.act()
                await jobs.next_change(REVIEW_S)
            telling.cancel()
            ended = loop.time()
            await replica_set.close(1.0)
            await asyncio.sleep(max(0.0, AFTER_S - (loop.time() - ended)))
        return counts.outcome


async def _tell_progress(replica_set: ReplicaSet, scheduler: Scheduler, wake: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        for state in replica_set.ready:
            state.counts_so_far = cast("Any", state.handle).counts
            scheduler.rows_finished(state.handle.id, state.status.rows_ahead)
        wake()

"""The replica set over the real store without Ray: replicas are coroutines, and their engines die as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.driver.background_tasks import BackgroundTasks
from eibench_ray.driver.cluster_nodes import NodeWatch
from eibench_ray.driver.failure_policy import FailurePolicy
from eibench_ray.driver.replica_factory import ReplicaFactory
from eibench_ray.driver.replica_set import ReplicaSet
from eibench_ray.driver.run_context import RunContext
from eibench_ray.driver.run_events import Ledger
from eibench_ray.driver.run_progress import RunProgress, RunResult
from eibench_ray.engines.engine import EngineDeadError
from eibench_ray.estimate.engine_profiles import engine_profiles
from eibench_ray.plan.graph import EngineSpec, Step
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.completion import Retry
from eibench_ray.rows.request import Reply, Request
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.scheduler import REVIEW_S, Scheduler
from eibench_ray.worker.probe import PoisonProbe
from eibench_ray.worker.replica import ReplicaFacts
from eibench_ray.worker.row_attempts import Asker, ReplicaCounts
from eibench_ray.worker.rows_in_flight import Drain
from eibench_ray.worker.task import TaskReport, run_task

Die = Callable[[Request], bool]


class Abandoned(Exception):
    """The driver was killed."""


@dataclass
class World:
    """A run's surroundings, and what its engines have seen.

    Attributes:
        dies: whether a request kills its engine.
        has_processes: whether a whole process dies, with all that it has not committed; else only its engine.
        most_deaths: after so many, the driver is killed; None: it lives.
        answered: how often each prompt was answered.
    """

    sweep: PlannedSweep
    dies: Die
    has_processes: bool = True
    most_deaths: int | None = None
    retry: Retry = "errors"
    answered: Counter[str] = field(default_factory=Counter)
    num_deaths: int = 0
    run_id: str = field(default_factory=lambda: secrets.token_hex(4))

    def run(self) -> RunResult:
        """The run's result."""
        return asyncio.run(_conduct(self))

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The ledger's events of one kind."""
        lines = [json.loads(line) for line in self.ledger_path.read_text().splitlines()]
        return [line for line in lines if line["event"] == kind]

    @property
    def ledger_path(self) -> Path:
        """Path of the run's ledger."""
        return Path(self.sweep.store.root) / f"ledger-{self.run_id}.jsonl"


class Mortal:
    """A replica and its engine."""

    def __init__(self, replica_id: int, spec: EngineSpec, world: World) -> None:
        self.id = replica_id
        self.spec = spec
        self.nodes: tuple[str, ...] = ()
        self.facts: ReplicaFacts | None = None
        self._world = world
        self._counts_so_far = ReplicaCounts()
        self._drain = Drain()
        self._is_dead = False
        self._running: set[asyncio.Task[TaskReport]] = set()
        self._asker = Asker(self, spec.name, asyncio.Semaphore(4), 30.0, world.run_id, self._counts_so_far)

    # The engine.

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:  # noqa: ARG002
        await asyncio.sleep(0)
        if not self._is_dead and self._world.dies(request):
            self._die()
        if self._is_dead and self._world.has_processes:
            await asyncio.Event().wait()
        if self._is_dead:
            raise EngineDeadError(f"the engine died of {request.sample_id}")
        self._world.answered[request.user] += 1
        return Reply(f"an answer to {request.digest}", "stop", 1, 4)

    def _die(self) -> None:
        self._is_dead = True
        self._world.num_deaths += 1
        for task in self._running if self._world.has_processes else ():
            task.cancel()

    # The replica, as its replica set sees it.

    async def place(self, timeout_s: float, known: object) -> None:
        pass

    async def start(self) -> Any:
        self.facts = ReplicaFacts(self.spec.name, 4, 0.0, "here", "here", 0, ())
        return self.facts

    async def run_task(self, step: Step, slice_: Slice, probe: PoisonProbe | None = None) -> TaskReport:
        if self._is_dead:
            raise EngineDeadError("the replica's process died")
        sweep = self._world.sweep
        dataset = open_dataset(sweep.plan.datasets[step.dataset].path)
        index, retry = dataset.index(), self._world.retry
        work = run_task(step, slice_, dataset, index, sweep.store, self._asker, self._drain, retry=retry, probe=probe)
        task = asyncio.create_task(work)
        self._running.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            raise EngineDeadError("the replica's process died") from None
        finally:
            self._running.discard(task)

    async def stop(self, timeout_s: float = 0.0) -> None:
        pass

    async def end(self, timeout_s: float) -> bool:  # noqa: ARG002
        return True

    async def last_lines(self) -> str:
        return ""

    async def reap(self) -> str:
        return ""

    async def release(self) -> None:
        pass


async def _conduct(world: World) -> RunResult:
    """As the driver does, without Ray and without looking at nodes."""
    sweep, jobs = world.sweep, BackgroundTasks()
    for step, left in sweep.work.items():
        if left.todo:
            sweep.store.fix_slice_rows(step, sweep.slice_rows[step], {})
    config, counts = sweep.config.cluster, RunProgress(sweep.plan, sweep.work)
    profiles = engine_profiles(sweep.plan, config, ())
    scheduler = Scheduler(Backlog(sweep.plan, sweep.work), profiles)
    with contextlib.closing(Ledger(world.ledger_path)) as ledger:
        watch = NodeWatch(config)
        context = RunContext(
            plan=sweep.plan,
            config=config,
            profiles=profiles,
            scheduler=scheduler,
            counts=counts,
            failure_policy=FailurePolicy(config),
            watch=watch,
            jobs=jobs,
            ledger=ledger,
        )
        factory = cast("ReplicaFactory", _Mortals(world))
        replica_set = ReplicaSet(context, factory)
        while not scheduler.is_done:
            if world.most_deaths is not None and world.num_deaths >= world.most_deaths:
                raise Abandoned
            if replica_set.must_look:
                replica_set.settle_doubts()
            replica_set.act()
            await jobs.next_change(REVIEW_S)
        await replica_set.close(1.0)
    return counts.outcome


@dataclass
class _Mortals:
    world: World

    def reserve(self, replica_id: int, spec: EngineSpec, need: object, nodes: object) -> Mortal:  # noqa: ARG002
        return Mortal(replica_id, spec, self.world)

"""The driver: an asyncio loop that carries out what the policy decides, until the backlog is empty.

Over 250 lines: starting, feeding, losing and stopping replicas change the same few counts, which stay in one place.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from eibench_ray.cluster.events import Ledger, Listener, Snapshot
from eibench_ray.cluster.fleet import ReplicaHandle, check_node_alive, create_replica, engine_need
from eibench_ray.cluster.replica import ReplicaFacts
from eibench_ray.cluster.task import TaskReport
from eibench_ray.config.schema import ClusterConfig
from eibench_ray.engines.base import EngineDeadError
from eibench_ray.errors import ClusterError, EibenchError, EngineError
from eibench_ray.plan.graph import EngineSpec, Plan
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.policy import Feed, Start, decide
from eibench_ray.schedule.state import NOTHING, EngineView, Phase, ReplicaView, Resources, State
from eibench_ray.store.resume import Slice, StepWork

log = logging.getLogger(__name__)

# An engine that dies this often without finishing a slice in between is given up.
MAX_DEATHS = 3
SNAPSHOT_EVERY_S = 1.0
WATCH_EVERY_S = 5.0


@dataclass(slots=True)
class Outcome:
    """What a run did.

    Attributes:
        num_new, prompt_tokens, completion_tokens: over rows that engines answered in this run.
        num_loads: engines that were loaded: replicas that became ready, but for recorded predictions.
        failed_engines: key -> why the engine was given up.
        unfinished_steps: steps that lack rows, because their engine failed or the run was interrupted.
    """

    num_new: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    num_loads: int = 0
    failed_engines: dict[str, str] = field(default_factory=dict)
    unfinished_steps: set[str] = field(default_factory=set)
    was_interrupted: bool = False


@dataclass(slots=True)
class _Replica:
    """A replica and what it is doing."""

    handle: ReplicaHandle
    need: Resources
    facts: ReplicaFacts | None = None
    in_flight: int = 0
    rows_reported: int = 0
    tally: tuple[int, int] = (0, 0)


class Driver:
    """Runs one plan on a joined Ray cluster."""

    def __init__(
        self,
        plan: Plan,
        work: Mapping[str, StepWork],
        config: ClusterConfig,
        total: Resources,
        store_root: str,
        run_id: str,
        ledger: Ledger,
        listener: Listener,
    ) -> None:
        self._plan = plan
        self._work = work
        self._config = config
        self._free = total
        self._leaving = NOTHING
        self._store_root = store_root
        self._run_id = run_id
        self._ledger = ledger
        self._listener = listener
        self._backlog = Backlog(plan, work)
        self._replicas: dict[int, _Replica] = {}
        self._ids = itertools.count(1)
        self._deaths: Counter[str] = Counter()
        self._max_replicas = dict.fromkeys(plan.engines, config.max_replicas_per_engine)
        self._done = {step: left.num_rows - sum(slice_.num_rows for slice_ in left.todo) for step, left in work.items()}
        self._tokens_of_gone = 0
        self._jobs: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stop_requested = asyncio.Event()
        self.outcome = Outcome()
        self._check_fits(total)

    def request_stop(self) -> None:
        """Stops admission; rows in flight are given up, finished ones are committed, and `run` returns."""
        self._stop_requested.set()
        self._changed.set()

    async def run(self) -> Outcome:
        """What was done, once the backlog is empty, every engine that is needed has failed, or a stop was requested.

        Raises:
            EibenchError: the store or the cluster failed under the run; what was committed is kept.
        """
        followers = [asyncio.create_task(self._report()), asyncio.create_task(self._watch())]
        for follower in followers:
            follower.add_done_callback(lambda _: self._changed.set())
        try:
            while not self._backlog.is_empty and not self._stop_requested.is_set():
                self._act()
                await self._next_change()
                for follower in followers:
                    if follower.done():
                        follower.result()
            if self._stop_requested.is_set():
                await self._interrupt()
            return self.outcome
        finally:
            for follower in followers:
                follower.cancel()
            await self._shut_down()
            self._listener.update(self._snapshot())

    def _act(self) -> None:
        """Carries out the policy's decisions; each may allow another, so it is asked until it is silent."""
        while actions := decide(self._state()):
            for action in actions:
                match action:
                    case Start(engine):
                        self._start(self._plan.engines[engine])
                    case Feed(replica_id, num_tasks):
                        self._feed(self._replicas[replica_id], num_tasks)
                    case _:
                        self._retire(self._replicas[action.replica])

    def _state(self) -> State:
        engines = {key: self._view(spec) for key, spec in self._plan.engines.items()}
        replicas = tuple(
            ReplicaView(
                replica_id,
                replica.handle.engine,
                Phase.READY if replica.facts else Phase.STARTING,
                replica.facts.capacity if replica.facts else 0,
                replica.in_flight,
            )
            for replica_id, replica in self._replicas.items()
        )
        return State(engines, replicas, self._free, self._leaving)

    def _view(self, spec: EngineSpec) -> EngineView:
        ready, blocked = self._backlog.ready(spec.key), self._backlog.blocked_rows(spec.key)
        steps = [step for step in self._plan.steps.values() if step.engine == spec.key]
        mean_tokens = sum(step.sampling.max_tokens for step in steps) / max(len(steps), 1)
        expected_s = spec.expect.load_s + (sum(ready) + blocked) * mean_tokens / spec.expect.tokens_per_s
        need = engine_need(spec, self._config)
        return EngineView(spec.key, ready, blocked, need, spec.expect.load_s, expected_s, self._max_replicas[spec.key])

    def _start(self, spec: EngineSpec) -> None:
        replica_id = next(self._ids)
        handle = create_replica(replica_id, spec, self._config, self._plan.datasets, self._store_root, self._run_id)
        replica = _Replica(handle, engine_need(spec, self._config))
        self._replicas[replica_id] = replica
        self._free -= replica.need
        self._ledger.write("replica_starting", replica=replica_id, engine=spec.key, model=spec.name)
        log.info("replica starting engine=%s replica=%d", spec.name, replica_id)
        self._spawn(self._load(replica))

    async def _load(self, replica: _Replica) -> None:
        spec = self._plan.engines[replica.handle.engine]
        try:
            facts = await replica.handle.start(self._config.start_timeout_s)
        except EngineDeadError as error:
            self._lose(replica, error)
        except EibenchError as error:
            self._lose(replica, error, is_final=True)
        else:
            replica.facts = facts
            self.outcome.num_loads += spec.is_load
            self._ledger.write(
                "replica_ready",
                replica=replica.handle.id,
                engine=spec.key,
                model=spec.name,
                node=facts.node,
                load_s=round(facts.load_s, 2),
                capacity=facts.capacity,
                fingerprint=facts.fingerprint,
            )
            log.info("replica ready engine=%s load_s=%.1f capacity=%d", spec.name, facts.load_s, facts.capacity)

    def _feed(self, replica: _Replica, num_tasks: int) -> None:
        for _ in range(num_tasks):
            slice_ = self._backlog.take(replica.handle.engine)
            replica.in_flight += slice_.num_rows
            self._spawn(self._run_slice(replica, slice_))

    async def _run_slice(self, replica: _Replica, slice_: Slice) -> None:
        try:
            report = await replica.handle.run_task(self._plan.steps[slice_.step], slice_)
        except EngineDeadError as error:
            self._backlog.give_back(slice_)
            self._lose(replica, error)
        except EngineError as error:
            self._backlog.give_back(slice_)
            self._lose(replica, error, is_final=True)
        else:
            self._finish(replica, report)
        finally:
            replica.in_flight -= slice_.num_rows

    def _finish(self, replica: _Replica, report: TaskReport) -> None:
        slice_ = report.slice
        replica.rows_reported += slice_.num_rows
        self.outcome.num_new += report.num_new
        self.outcome.prompt_tokens += report.prompt_tokens
        self.outcome.completion_tokens += report.completion_tokens
        self._deaths[replica.handle.engine] = 0
        self._ledger.write(
            "slice_committed" if report.is_whole else "slice_interrupted",
            replica=replica.handle.id,
            step=slice_.step,
            slice=slice_.index,
            new=report.num_new,
            kept=report.num_kept,
            errors=report.num_errors,
            completion_tokens=report.completion_tokens,
            seconds=round(report.seconds, 3),
        )
        if report.is_whole:
            self._done[slice_.step] += slice_.num_rows
            self._backlog.finish(slice_)
        else:
            self._backlog.give_back(slice_)

    def _lose(self, replica: _Replica, error: EibenchError, *, is_final: bool = False) -> None:
        """Takes a dead replica out; gives its engine up when it cannot start or keeps dying.

        Where a further copy fails for good, the engine goes on with those that it has.
        """
        if self._replicas.pop(replica.handle.id, None) is None:
            return
        self._tokens_of_gone += replica.tally[1]
        replica.handle.kill()
        self._free += replica.need
        engine = replica.handle.engine
        name = self._plan.engines[engine].name
        self._deaths[engine] += 1
        self._ledger.write("replica_lost", replica=replica.handle.id, engine=engine, model=name, reason=str(error))
        log.warning("replica lost engine=%s reason=%s", name, error)
        others = [other for other in self._replicas.values() if other.handle.engine == engine]
        if is_final and any(other.facts for other in others):
            self._max_replicas[engine] = len(others)
        elif (is_final or self._deaths[engine] >= MAX_DEATHS) and engine not in self.outcome.failed_engines:
            self.outcome.failed_engines[engine] = str(error)
            self.outcome.unfinished_steps |= self._backlog.drop_engine(engine)
            self._ledger.write("engine_failed", engine=engine, model=name, reason=str(error))

    def _retire(self, replica: _Replica) -> None:
        del self._replicas[replica.handle.id]
        self._leaving += replica.need
        self._tokens_of_gone += replica.tally[1]
        self._ledger.write("replica_stopping", replica=replica.handle.id, engine=replica.handle.engine)
        self._spawn(self._stop(replica))

    async def _stop(self, replica: _Replica) -> None:
        await replica.handle.stop()
        self._leaving -= replica.need
        self._free += replica.need
        self._ledger.write("replica_stopped", replica=replica.handle.id, engine=replica.handle.engine)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(lambda _: self._changed.set())

    async def _next_change(self) -> None:
        """Waits until something has ended; an error of ours that no handler took ends the run."""
        await self._changed.wait()
        self._changed.clear()
        self._collect()

    def _collect(self) -> None:
        """Forgets the jobs that have ended; raises the error of one that failed."""
        for job in [job for job in self._jobs if job.done()]:
            self._jobs.discard(job)
            job.result()

    async def _interrupt(self) -> None:
        """Lets tasks commit what they have, for as long as the configuration allows."""
        self.outcome.was_interrupted = True
        self.outcome.unfinished_steps |= {step for step, done in self._done.items() if done < self._work[step].num_rows}
        self._ledger.write("interrupted")
        ready = [replica for replica in self._replicas.values() if replica.facts]
        await asyncio.gather(*(replica.handle.interrupt() for replica in ready))
        deadline = time.monotonic() + self._config.stop_timeout_s
        while any(replica.in_flight for replica in ready) and time.monotonic() < deadline:
            await asyncio.wait(
                [job for job in self._jobs if not job.done()], timeout=1.0, return_when=asyncio.FIRST_COMPLETED
            )
        self._collect()

    async def _shut_down(self) -> None:
        """Ends every replica: those that are ready in order, those that still load at once."""
        for replica in list(self._replicas.values()):
            if replica.facts:
                self._retire(replica)
            else:
                replica.handle.kill()
        self._replicas.clear()
        if self._jobs:
            _, late = await asyncio.wait(self._jobs, timeout=self._config.stop_timeout_s)
            for job in late:
                job.cancel()
        # Whatever else went wrong meanwhile: the error that ended the run is the one to show.
        await asyncio.gather(*self._jobs, return_exceptions=True)

    async def _report(self) -> None:
        """Tells the listener where the run stands, about once a second."""
        while True:
            await asyncio.sleep(SNAPSHOT_EVERY_S)
            ready = [replica for replica in self._replicas.values() if replica.facts]
            for replica, tally in zip(ready, await asyncio.gather(*(r.handle.tally() for r in ready)), strict=True):
                replica.tally = max(replica.tally, tally)
            self._listener.update(self._snapshot())

    async def _watch(self) -> None:
        """Ends the run when Ray is gone under it: replicas could be asked for, and would never come.

        Raises:
            ClusterError: this machine's part of Ray has died.
        """
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            await asyncio.to_thread(check_node_alive)

    def _snapshot(self) -> Snapshot:
        replicas: dict[str, tuple[int, int]] = {}
        for replica in self._replicas.values():
            starting, ready = replicas.get(replica.handle.engine, (0, 0))
            is_ready = replica.facts is not None
            replicas[replica.handle.engine] = (starting + (not is_ready), ready + is_ready)
        in_flight = sum(max(0, replica.tally[0] - replica.rows_reported) for replica in self._replicas.values())
        tokens = self._tokens_of_gone + sum(replica.tally[1] for replica in self._replicas.values())
        return Snapshot(dict(self._done), replicas, in_flight, max(tokens, self.outcome.completion_tokens))

    def _check_fits(self, total: Resources) -> None:
        busy = {step.engine for step in self._plan.steps.values() if self._work[step.id].todo}
        for spec in (spec for spec in self._plan.engines.values() if spec.key in busy):
            need = engine_need(spec, self._config)
            if not total.covers(need):
                raise ClusterError(
                    f"engine {spec.name!r} needs {need.gpus:g} GPUs and {need.cpus:g} cores for one replica; the "
                    f"cluster has {total.gpus:g} GPUs and {total.cpus:g} cores: lower model.engine.tensor_parallel or "
                    f"cluster.cpus_per_replica, or join a larger cluster"
                )

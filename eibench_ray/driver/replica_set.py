"""The replicas of a run from their start to their end: brought up, fed, lost, replaced, stopped.

Over 250 lines: each step of a replica's life changes the same members; what may be awaited where stands together.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from eibench_ray.driver.actor_handle import NodeLostError
from eibench_ray.driver.cluster_nodes import STUCK_TIMEOUT_S
from eibench_ray.driver.failure_reasons import StartTimeoutError, is_passing, name_keys
from eibench_ray.driver.placement_group import NotPlacedError
from eibench_ray.driver.poisoned_slices import PoisonedSlices
from eibench_ray.driver.replica_factory import STOP_TIMEOUT_S, ReplicaFactory
from eibench_ray.driver.replica_state import ReplicaState
from eibench_ray.driver.replica_waits import Rest, find_waits
from eibench_ray.driver.run_context import RunContext
from eibench_ray.engines.engine import EngineDeadError
from eibench_ray.errors import EibenchError, EngineError
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.wait import Wait
from eibench_ray.schedule.actions import Feed, Start, Stop
from eibench_ray.worker.last_lines import LOGS_FOLDER, keep
from eibench_ray.worker.probe import PoisonProbe
from eibench_ray.worker.task import TaskReport

# What a replica may take beyond the deadline of the end: for its processes to be killed, and to be seen to be gone.
KILL_TIMEOUT_S = 8.0


class ReplicaSet:
    """The replicas that start or are ready, and how each comes and goes.

    Attributes:
        must_look: nodes may have left. Before the scheduler is asked again, somebody is to look, and to call
            `settle_doubts`: an engine that has died too often may have done so because nodes left under it.
    """

    def __init__(self, context: RunContext, factory: ReplicaFactory) -> None:
        self._context = context
        self._factory = factory
        self._poisoned_slices = PoisonedSlices(context)
        self._stop_timeout_s = min(STOP_TIMEOUT_S, context.config.stop_timeout_s)
        self._is_closing = asyncio.Event()
        self.states: dict[int, ReplicaState] = {}
        self.must_look = False
        self._doubtful: dict[str, str] = {}
        self._rests: dict[str, Rest] = {}

    @property
    def ready(self) -> list[ReplicaState]:
        """Those that can be asked."""
        return [state for state in self.states.values() if state.is_ready]

    @property
    def starting(self) -> list[ReplicaState]:
        """Those that cannot be asked yet."""
        return [state for state in self.states.values() if not state.is_ready]

    def waits(self) -> list[Wait]:
        """Waits of all engines of the run."""
        return list(find_waits(self._context, self.states.values(), self._rests, time.monotonic()))

    # What the scheduler decides.

    def act(self) -> None:
        """Carries out the scheduler's decisions; each may allow another, so it is asked until it is silent."""
        while actions := self._context.scheduler.decide(time.monotonic()):
            for action in actions:
                match action:
                    case Start():
                        self._start(action)
                    case Feed():
                        self._feed(action)
                    case Stop():
                        self._retire(self.states[action.replica])

    def _start(self, start: Start) -> None:
        """Begins to bring a replica up."""
        spec, need = self._context.plan.engines[start.engine], self._context.profiles[start.engine].need
        state = ReplicaState(self._factory.reserve(start.replica, spec, need, start.nodes), time.monotonic())
        self.states[start.replica] = state
        self._tell("replica_starting", state, model=spec.name, nodes=list(start.nodes), gpus=need.gpus)
        self._context.jobs.spawn(self._live(state))

    def _feed(self, feed: Feed) -> None:
        """Gives a replica slices to work on."""
        state = self.states[feed.replica]
        for slice_ in feed.slices:
            probe = self._poisoned_slices.next_probe(slice_, has_answered=state.has_answered) if feed.is_probe else None
            state.slices[slice_] = probe
            self._tell_slice("slice_sent", state, slice_, rows=len(probe.rows) if probe else slice_.num_rows)
            self._context.jobs.spawn(self._run_slice(state, slice_, probe))

    # A replica's life.

    async def _live(self, state: ReplicaState) -> None:
        """Brings a replica up, waits until it has to go, and gives back what it holds, whatever happens."""
        handle = state.handle
        starting = self._context.jobs.spawn(self._bring_up(state))
        try:
            await state.ended.wait()
            starting.cancel()
            await asyncio.wait({starting})
            if state.is_ready and not state.is_lost:
                await self._end_in_order(state)
            if left := await handle.reap():
                self.tell_deadline(state, f"replica {handle.id} to be gone", STUCK_TIMEOUT_S, f"left {left}")
            if state.is_lost:  # not before: until then it may write
                self._context.jobs.spawn(self._keep_log(state))
        finally:
            await handle.release()
            self._tell("replica_stopped", state)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_closing.wait(), state.pause_s)
        self._context.scheduler.replica_gone(handle.id)

    async def _keep_log(self, state: ReplicaState) -> None:
        """Keeps the last lines of a replica that was lost, where its node still has them."""
        path = self._context.ledger.folder / LOGS_FOLDER / f"replica-{state.handle.id}.log"
        if text := await state.handle.last_lines():
            with contextlib.suppress(OSError):  # the disk is full, which others say
                self._context.counts.outcome.logs[state.engine] = await asyncio.to_thread(keep, path, text)
                self._tell("replica_log", state, path=str(path))

    async def _end_in_order(self, state: ReplicaState) -> None:
        timeout_s = self._stop_timeout_s
        if not await state.handle.end(timeout_s):
            self.tell_deadline(state, f"replica {state.handle.id} to stop its engine", timeout_s, "killed it")

    async def _bring_up(self, state: ReplicaState) -> None:
        context, handle = self._context, state.handle
        waits_s = context.failure_policy.waits_for_place(state.engine, time.monotonic())
        try:
            await handle.place(waits_s, list(context.watch.nodes.values()))
            context.failure_policy.got_place(state.engine)
            state.placed_at = time.monotonic()
            self._tell("replica_placed", state)
            facts = await handle.start()
        except NotPlacedError as error:
            self.tell_deadline(state, f"a place for replica {handle.id}", waits_s, "gave it back")
            self._miss_place(state, error)
        except EibenchError as error:
            if isinstance(error, StartTimeoutError):
                waited_s = handle.config.start_timeout_s
                self.tell_deadline(state, f"replica {handle.id} to load its engine", waited_s, "killed it")
            self.lose(state, error, has_started=False)
        else:
            state.is_ready = True
            context.failure_policy.started(state.engine)
            context.scheduler.replica_ready(handle.id, facts.capacity, time.monotonic())
            context.counts.outcome.num_loads += handle.spec.is_load
            context.counts.outcome.loads_s[state.engine].append(time.monotonic() - state.placed_at)
            self._tell(
                "replica_ready",
                state,
                model=handle.spec.name,
                node=facts.node,
                load_s=round(facts.load_s, 2),
                capacity=facts.capacity,
                fingerprint=facts.fingerprint,
            )

    async def _run_slice(self, state: ReplicaState, slice_: Slice, probe: PoisonProbe | None) -> None:
        try:
            report = await state.handle.run_task(self._context.plan.steps[slice_.step], slice_, probe)
        except EngineDeadError as error:
            self.lose(state, error)
        except EngineError as error:
            self.lose(state, error, is_final=True)
        else:
            self._finish(state, report, probe)
        finally:
            state.slices.pop(slice_, None)

    def _finish(self, state: ReplicaState, report: TaskReport, probe: PoisonProbe | None) -> None:
        if state.is_lost:
            return  # its slice is ready again; whoever asks it next finds these rows and reports them
        context, slice_ = self._context, report.slice
        state.rows_reported += report.num_new + report.num_kept + report.num_errors
        if report.num_answered:
            state.has_answered = True
            self._poisoned_slices.note_answer(state.engine)
        if probe is None or report.num_answered:
            context.failure_policy.finished_slice(state.engine)
        if probe is None or report.is_whole:
            context.counts.add(report)
        if probe is not None:
            self._poisoned_slices.note_end(report)
        for sample in report.quarantined:
            self._tell_slice("row_quarantined", state, slice_, sample=sample)
        of_probe = {"rows": len(probe.rows), "is_control": probe.is_control} if probe and not report.is_whole else {}
        self._tell_slice(
            "slice_committed" if report.is_whole else "slice_probed" if probe else "slice_interrupted",
            state,
            slice_,
            **of_probe,
            new=report.num_new,
            kept=report.num_kept,
            errors=report.num_errors,
            absent=report.num_absent,
            completion_tokens=report.completion_tokens,
            cost_usd=round(report.cost_usd, 8),
            seconds=round(report.seconds, 3),
        )
        if report.is_whole:
            context.scheduler.slice_finished(state.handle.id, slice_, report.completion_tokens, report.asked)
        else:
            context.scheduler.slice_returned(state.handle.id, slice_, time.monotonic())
        if report.shortage is not None:
            context.spend_no_more(report.shortage)

    # Failures. What is to be done about one is done before anything is awaited: the scheduler starts what has rows.

    def take_out(self, replica: int, reason: str, *, is_blamed: bool = False) -> bool:
        """Takes a dead replica out, once: its slices are ready again; what it holds is given back in its own time."""
        if (state := self.states.pop(replica, None)) is None:
            return False
        suspected = self._context.scheduler.replica_lost(replica, time.monotonic(), is_blamed=is_blamed)
        self._context.counts.add_gone(state.engine, state.counts_so_far, is_lost=True)
        for slice_, probe in state.slices.items():
            self._tell_slice("slice_returned", state, slice_)
            if probe is not None and is_blamed:
                self._poisoned_slices.note_death(slice_, reason, state.handle.nodes, has_answered=state.has_answered)
                self.must_look = True
            elif probe is not None:
                self._poisoned_slices.note_break(slice_)
        for slice_ in suspected:
            self._tell_slice("poison_search_begun", state, slice_)
        self._tell("replica_lost", state, model=state.handle.spec.name, reason=reason)
        state.is_lost = True
        state.ended.set()
        return True

    def give_up(self, engine: str, reason: str) -> None:
        """Never starts an engine again; its replicas that still load are ended, the others finish what they have."""
        if self._context.is_given_up(engine):
            return
        self._context.give_up(engine, reason)
        for replica, state in list(self.states.items()):
            if state.engine == engine and not state.is_ready:
                self.take_out(replica, "its engine was given up")

    def lose(
        self, state: ReplicaState, error: EibenchError, *, is_final: bool = False, has_started: bool = True
    ) -> None:
        """Takes a dead replica out; gives its engine up when it cannot start or keeps dying, else lets it rest.

        Where a further copy fails for good, the engine goes on with those that it has. A node that leaves takes its
        replicas along: that is no fault of theirs.
        """
        engine, nodes = state.engine, state.handle.nodes
        is_node_lost = isinstance(error, NodeLostError)
        is_excused = is_node_lost or any(node not in self._context.watch.nodes for node in nodes)
        reason = name_keys(str(error), engine, self._context.plan)
        if not self.take_out(state.handle.id, reason, is_blamed=not is_final and not is_excused):
            return
        if is_excused:
            self.must_look |= is_node_lost
            return
        others = [other for other in self.states.values() if other.engine == engine]
        failure_policy, now = self._context.failure_policy, time.monotonic()
        is_news = failure_policy.is_news(engine, state.began_at, now)
        if not any(state.slices.values()):  # a search is bounded, and what it looks for kills at once
            pause_s = failure_policy.rest_s(engine)
            self._context.scheduler.rest(engine, now + pause_s)
            self._rests[engine] = Rest(reason, now, pause_s)
        if not has_started:
            is_final = not is_passing(error)
            if not is_final and is_news and failure_policy.failed_to_start(engine):
                is_final = True
                reason += (
                    f" (cluster.max_start_failures={self._context.config.max_start_failures} starts in a row failed)"
                )
        if is_final and any(other.is_ready for other in others):
            self._context.scheduler.limit_replicas(engine, len(others))
        elif is_final:
            self.give_up(engine, reason)
        elif has_started and is_news and failure_policy.died(engine, nodes, with_rows=bool(state.slices)):
            self._doubtful[engine] = reason
            self.must_look = True

    def settle_doubts(self) -> None:
        """Gives up the engines that have died too often, now that it is known which nodes have left."""
        for engine, reason in self._poisoned_slices.settle():
            self.give_up(engine, reason)
        for engine, reason in self._doubtful.items():
            if self._context.failure_policy.is_over(engine):
                self.give_up(engine, reason)
        self._doubtful.clear()
        self.must_look = False

    def _miss_place(self, state: ReplicaState, error: NotPlacedError) -> None:
        """Takes out a replica whose resources are somebody else's; they are left alone for a while."""
        engine, failure_policy = state.engine, self._context.failure_policy
        is_enough = failure_policy.got_no_place(engine, time.monotonic())
        state.pause_s = failure_policy.pause_s(engine)
        self._rests[engine] = Rest(str(error), time.monotonic(), state.pause_s)
        self.take_out(state.handle.id, str(error))
        if is_enough and not any(other.engine == engine for other in self.states.values()):
            self.give_up(engine, f"engine {state.handle.spec.name!r} found {error}")

    # The end.

    async def drain(self, grace_s: float) -> None:
        """Makes all tasks commit what they have and return; rows in flight have so many seconds to end."""
        await asyncio.gather(*(state.handle.drain(grace_s) for state in self.ready))

    async def close(self, timeout_s: float) -> None:
        """Ends every replica: those that are ready in order, those that still load and those that are late at once."""
        self._is_closing.set()
        self._stop_timeout_s = min(STOP_TIMEOUT_S, timeout_s)
        for state in list(self.states.values()):
            self._retire(state)
        await self._context.jobs.finish(timeout_s + KILL_TIMEOUT_S)
        self._poisoned_slices.count_rest()

    def _retire(self, state: ReplicaState) -> None:
        del self.states[state.handle.id]
        self._context.counts.add_gone(state.engine, state.counts_so_far)
        self._tell("replica_stopping", state)
        state.ended.set()

    # What others are told.

    def tell_deadline(self, state: ReplicaState, what: str, waited_s: float, did: str) -> None:
        """A replica has let a deadline pass."""
        self._context.tell_deadline(what, waited_s, did, replica=state.handle.id, engine=state.engine)

    def _tell(self, event: str, state: ReplicaState, **fields: object) -> None:
        self._context.ledger.write(event, replica=state.handle.id, engine=state.engine, **fields)

    def _tell_slice(self, event: str, state: ReplicaState, slice_: Slice, **fields: object) -> None:
        self._context.ledger.write(event, replica=state.handle.id, step=slice_.step, slice=slice_.index, **fields)

"""The scheduler: told what happened, it says which replicas to start, feed and stop. No Ray, no clock, no disk.

- **Load once.** A replica stays while its engine has rows left, unless the others of its engine are enough, or it is
  idle in the way of an engine that has none.
- **Work-conserving.** What has rows that can be asked, and fits, is started at once.
- **Longest expected first**, and as many replicas of an engine as the horizon takes (`schedule/policy.py`).
- **Side by side.** Steps whose prompts begin alike are asked row by row, each replica its own rows
  (`schedule/ready_slices.py`), so that a picture, or what a judge is told of a sample, is read once.
- **Enough in flight.** A replica holds more than its batch, so that no slice's end is a barrier; and not much more, so
  that the last slices go where they end first.
- **Probes alone.** A slice with which replicas keep dying is probed: it is all that its replica has, and comes last.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping

from eibench_ray.plan.slices import Slice
from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.schedule.actions import Action, Feed
from eibench_ray.schedule.autoscaling import review
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.node_capacity import NodeCapacity
from eibench_ray.schedule.remaining_work import forecast
from eibench_ray.schedule.resources import EngineProfile, Node, Phase
from eibench_ray.schedule.scheduler_state import EngineState, SchedulerState

# The caller asks again after so many seconds in which nothing happened.
REVIEW_S = 2.0
# Replicas are thought over so often within the horizon while nothing but slices come and go; and, where there are many,
# at most so often whatever happens: a review looks at all of them.
REVIEWS_PER_HORIZON = 200
MAX_REVIEWS_PER_HORIZON = 1000
MANY_REPLICAS = 64
_LONG_S = 1000.0


class Scheduler:
    """The state of a run and the decisions on it.

    What it is told of a replica that it does not know any more, it passes over.

    Args:
        backlog: what is to be asked.
        engines: what is expected of each, by key.
        nodes: those that are there from the beginning.
        until: when what is asked must be answered; math.inf: at any time.
    """

    def __init__(
        self,
        backlog: Backlog,
        engines: Mapping[str, EngineProfile],
        nodes: Iterable[Node] = (),
        *,
        until: float = math.inf,
    ) -> None:
        self._state = SchedulerState(backlog, engines, until)
        self._review_at = self._not_before = -math.inf
        self._rest_ends_at = math.inf
        self._aim_at = self._ends_at = math.inf
        for node in nodes:
            self.add_node(node)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to ask."""
        return self._state.backlog.is_empty

    @property
    def needs_gpus(self) -> bool:
        """Whether an engine that owns GPUs has rows left, or a replica still holds some."""
        state = self._state
        owners = [key for key, engine in state.engines.items() if engine.profile.need.gpus]
        return any(map(state.backlog.rows_left, owners)) or any(map(state.gpus, state.replicas.values()))

    def is_out_of_time(self, now: float) -> bool:
        """Whether nothing is under way, and nothing that could be asked would be answered in time."""
        state = self._state
        if any(replica.slices or replica.phase is Phase.STARTING for replica in state.replicas.values()):
            return False
        return state.until < math.inf and not any(
            state.backlog.num_ready(key)
            and state.has_time(engine, now, 0.0 if engine.ready else self._until_loaded_s(engine, now))
            for key, engine in state.engines.items()
        )

    @property
    def places(self) -> NodeCapacity:
        """The cluster's nodes and what is free on them."""
        return self._state.places

    def horizon_s(self, now: float) -> float:
        """Seconds in which all that is left can be done, as it was last thought over; math.inf: not known."""
        return max(0.0, self._ends_at - now)

    @property
    def prior_share(self) -> float:
        """Share of the work that is left whose speed is a prior still, from 0 (all is measured) to 1."""
        priors_s = work_s = 0.0
        for key, engine in self._state.engines.items():
            own_s = engine.estimate.work_s(self._state.backlog.rows_left(key)) * max(engine.profile.need.gpus, 1.0)
            priors_s += own_s * engine.estimate.prior_share
            work_s += own_s
        return priors_s / work_s if work_s else 0.0

    # What happened.

    def add_node(self, node: Node) -> None:
        """A node has joined."""
        self._state.places.add(node)
        self._review_soon()

    def remove_node(self, node: str) -> list[int]:
        """A node has left: the replicas that were on it, even in part, are lost.

        Those that lie on other nodes too hold their part of them until `replica_gone`; the others are gone at once.
        """
        lost = [replica for replica in self._state.replicas.values() if node in replica.nodes]
        self._state.places.remove(node)
        for replica in lost:
            self._state.lose(replica)
            if not any(other in self._state.places.nodes for other in replica.nodes):
                self._state.remove(replica)
        self._review_soon()
        return [replica.id for replica in lost]

    def replica_ready(self, replica: int, capacity: int, now: float) -> None:
        """A replica has loaded its engine, which works on so many rows at once."""
        if (found := self._state.replicas.get(replica)) is not None and found.phase is Phase.STARTING:
            self._state.ready(found, capacity, now)
            self._review_soon()

    def replica_lost(self, replica: int, now: float, *, is_blamed: bool = False) -> list[Slice]:  # noqa: ARG002
        """A replica died, or did not start: its slices are ready again; what it reserves is not free yet.

        Args:
            replica: its number.
            now: the time, as each event has it.
            is_blamed: whether the slices that it held may have killed it; those to be probed from now on come back.
        """
        if (found := self._state.replicas.get(replica)) is None:
            return []
        self._review_soon()
        return self._state.lose(found, is_blamed=is_blamed)

    def replica_gone(self, replica: int) -> None:
        """A replica that was stopped or lost has left nothing behind: what it reserved is free."""
        if (found := self._state.replicas.get(replica)) is not None:
            self._state.lose(found)
            self._state.remove(found)
            self._review_soon()

    def rows_finished(self, replica: int, num_rows: int) -> None:
        """So many rows of the slices that a replica holds are finished; to be told every `state.PROGRESS_S`."""
        found = self._state.replicas.get(replica)
        if found is not None and found.rows_done != num_rows:
            self._state.note_done(found, num_rows)

    def slice_finished(self, replica: int, slice_: Slice, tokens: int, asked: AskedWork | None = None) -> None:
        """A slice is committed.

        Args:
            replica: its number.
            slice_: the slice.
            tokens: that were generated for it, by this replica or by one before it.
            asked: what the rows took that this replica has asked; None: not known.
        """
        found = self._state.replicas.get(replica)
        if found is None or slice_ not in found.slices:
            return
        self._state.take_off(found, slice_)
        found.rows_finished += slice_.num_rows
        estimate = self._state.engines[found.engine].estimate
        if tokens:  # else its rows were there already, and nothing is learnt from them
            estimate.replied(slice_.step, slice_.num_rows, tokens)
        if asked is not None:
            estimate.answered(slice_.step, asked)
        self._state.backlog.finish(slice_)
        if not found.slices and (found.phase is Phase.DRAINING or self._state.is_through(found.engine)):
            self._review_soon()

    def slice_returned(self, replica: int, slice_: Slice, now: float) -> None:  # noqa: ARG002 - as above
        """A slice was not finished: it is ready again."""
        if (found := self._state.replicas.get(replica)) is not None and self._state.take_off(found, slice_):
            self._state.backlog.give_back(slice_)
            self._review_soon()

    def give_up(self, engine: str) -> set[str]:
        """An engine is never started again; the ids of the steps that cannot be finished."""
        self._review_soon()
        return self._state.backlog.drop_engine(engine)

    def ask_no_more(self, engine: str) -> set[str]:
        """An engine is given no further slice, what it has it may finish; the steps that cannot be finished."""
        self._review_soon()
        return self._state.backlog.drop_engine(engine, drops_taken=False)

    def rest(self, engine: str, until: float) -> None:
        """No replica of an engine is started before; what it would lie on is there for others."""
        self._state.engines[engine].rests_until = until
        self._rest_ends_at = min(self._rest_ends_at, until)

    def limit_replicas(self, engine: str, most: int) -> None:
        """An engine gets no more copies than this."""
        self._state.engines[engine].most = min(self._state.engines[engine].most, most)

    # What to do.

    def decide(self, now: float) -> list[Action]:
        """Decides what to do now; every action counts as done.

        To be asked again when something has happened, and every `REVIEW_S` while nothing does.
        """
        actions: list[Action] = []
        for engine in self._state.engines.values():
            if engine.hungry and self._state.has_time(engine, now):
                actions += self._feed(engine)
        if now >= min(self._review_at, self._rest_ends_at):
            self._rest_ends_at = min((rest for rest in self._rests() if rest > now), default=math.inf)
            # What was aimed at last is a good guess of what is to be aimed at now.
            found = forecast(self._state, now, max(self._aim_at - now, 1.0) if self._aim_at < math.inf else None)
            self._aim_at = now + found.horizon_s
            self._ends_at = now + found.end_s
            actions += review(self._state, found, now)
            horizon_s = min(found.horizon_s, _LONG_S)
            is_large = len(self._state.replicas) > MANY_REPLICAS
            self._not_before = now + horizon_s / MAX_REVIEWS_PER_HORIZON if is_large else -math.inf
            self._review_at = now + max(REVIEW_S, horizon_s / REVIEWS_PER_HORIZON)
        return actions

    def _rests(self) -> Iterator[float]:
        return (engine.rests_until for engine in self._state.engines.values())

    @staticmethod
    def _until_loaded_s(engine: EngineState, now: float) -> float:
        return max(0.0, engine.rests_until - now) + engine.estimate.load_s

    def _review_soon(self) -> None:
        self._review_at = self._not_before

    def _feed(self, engine: EngineState) -> Iterator[Feed]:
        """Ready slices to replicas with room, one at a time to the emptiest; then probes to those without any."""
        fed: dict[int, list[Slice]] = {}
        key, backlog = engine.profile.key, self._state.backlog
        while engine.hungry and backlog.num_ready(key) > backlog.num_probes(key):
            rows_left, number = heapq.heappop(engine.hungry)
            replica = engine.ready.get(number)
            if replica is None or replica.rows_left != rows_left or not self._state.has_room(replica):
                continue  # out of date
            fed.setdefault(number, []).append(self._state.give(replica))
            if self._state.has_room(replica):
                heapq.heappush(engine.hungry, (replica.rows_left, number))
        yield from (Feed(number, tuple(slices)) for number, slices in fed.items())
        while engine.idle and backlog.num_probes(key):
            replica = engine.ready[min(engine.idle)]
            yield Feed(replica.id, (self._state.give_probe(replica),), is_probe=True)

"""The replicas of a run: which there are, what they hold, where they lie. The one place where that changes."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eibench_ray.plan.slices import Slice
from eibench_ray.schedule.actions import Start, Stop
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.engine_estimate import EngineEstimate
from eibench_ray.schedule.node_capacity import NodeCapacity
from eibench_ray.schedule.resources import EngineProfile, Phase, Unit, scarce_unit

# Most rows of a slice are finished long before the last: the caller says so often how many of a replica's are.
PROGRESS_S = 1.0
# A replica holds so many times its capacity, and what it does until the caller says how far it is.
DEPTH = 1.2


@dataclass(slots=True)
class ScheduledReplica:
    """One replica.

    Attributes:
        slices: what it holds, oldest first.
    """

    id: int
    engine: str
    nodes: tuple[str, ...]  # of its bundles
    began_at: float  # when its start was decided
    phase: Phase = Phase.STARTING
    capacity: int = 0  # rows that it works on at once; 0 until it is ready
    slices: dict[Slice, None] = field(default_factory=dict)
    rows: int = 0  # of those slices
    rows_done: int = 0  # those of them that are finished, as far as the caller has said
    rows_finished: int = 0  # of the slices that it has finished
    ready_at: float = 0.0  # when it had loaded
    is_probing: bool = False  # whether it has a slice to probe, and is to have nothing beside it

    @property
    def rows_left(self) -> int:
        """Rows of what it holds that are not known to be finished."""
        return self.rows - self.rows_done

    def rows_begun(self, row_s: float, now: float) -> float:
        """Rows' worth of what it holds that is done already: those that are finished, and half of each in the batch."""
        return min(self.rows_done + min(self.rows_left, self.capacity) / 2, (now - self.ready_at) / row_s)


@dataclass(slots=True)
class EngineState:
    """One engine.

    Attributes:
        starting, ready: its replicas, by number; those that drain or leave are in neither.
        hungry: (rows left, replica) of those that have room, the emptiest first; entries may be out of date.
        waited_for_nothing: whether a replica was started for rows to come, and had to make room before they came.
    """

    profile: EngineProfile
    estimate: EngineEstimate
    most: float  # copies at the same time; math.inf where nothing limits them
    starting: dict[int, ScheduledReplica] = field(default_factory=dict)
    ready: dict[int, ScheduledReplica] = field(default_factory=dict)
    idle: set[int] = field(default_factory=set)  # numbers of the ready ones that hold nothing
    hungry: list[tuple[int, int]] = field(default_factory=list)
    rests_until: float = -math.inf  # no replica is started before
    waited_for_nothing: bool = False

    @property
    def count(self) -> int:
        """Replicas that start or are ready."""
        return len(self.starting) + len(self.ready)


class SchedulerState:
    """All engines and replicas, the backlog that they work off, and the nodes that they lie on."""

    def __init__(self, backlog: Backlog, profiles: Mapping[str, EngineProfile], until: float = math.inf) -> None:
        self.backlog = backlog
        self.until = until  # when what is asked must be answered
        self.places = NodeCapacity()
        self.unit: Unit = scarce_unit(profile.need for profile in profiles.values())
        self.engines = {
            key: EngineState(profile, EngineEstimate(profile), profile.most) for key, profile in profiles.items()
        }
        self.replicas: dict[int, ScheduledReplica] = {}  # by number; until what they reserved is free
        self.leaving: dict[int, ScheduledReplica] = {}  # those of them that drain, are stopped or were lost
        self._ids = itertools.count(1)

    def is_through(self, key: str) -> bool:
        """Whether nothing is left that could come to an engine's replicas, what they hold left aside."""
        return not self.backlog.num_untaken(key)

    def gpus(self, replica: ScheduledReplica) -> float:
        """GPUs that a replica holds."""
        return self.engines[replica.engine].profile.need.gpus

    def units(self, key: str) -> float:
        """Units, of what is scarce, that one replica of an engine takes."""
        return self.engines[key].profile.need.units(self.unit)

    def has_time(self, engine: EngineState, now: float, before_s: float = 0.0) -> bool:
        """Whether a row of an engine that is asked in `before_s` seconds would be answered in time.

        A row is the least that counts: a slice whose time is over commits those that it has.
        """
        if self.until == math.inf:
            return True
        steps = self.backlog.rows_left(engine.profile.key)
        row_s = min((engine.estimate.row_s(step) for step in steps), default=0.0)
        return now + before_s + row_s <= self.until

    def can_use(self, key: str, now: float) -> bool:
        """Whether one more replica of an engine is allowed, would be loaded in time, and would find a slice."""
        engine = self.engines[key]
        if now < engine.rests_until or not self.has_time(engine, now, engine.estimate.load_s):
            return False
        is_allowed = engine.most == math.inf or engine.count + self._num_draining(key) < engine.most
        return is_allowed and len(engine.starting) < self.backlog.num_untaken(key)

    def _num_draining(self, key: str) -> int:
        leaving = (replica for replica in self.leaving.values() if replica.engine == key)
        return sum(replica.phase is Phase.DRAINING for replica in leaving)

    def start(self, key: str, now: float, held: set[str]) -> Start | None:
        """A new replica where there is room, on none of the `held` nodes; None where there is none."""
        engine = self.engines[key]
        if not self.can_use(key, now):
            return None
        need = engine.profile.need
        nodes = self.places.find(need, held | self.places.lacking_ram(need) if engine.count else held)
        if nodes is None:
            return None
        self.places.reserve(need, nodes)
        replica = ScheduledReplica(next(self._ids), key, nodes, now)
        self.replicas[replica.id] = engine.starting[replica.id] = replica
        return Start(replica.id, key, nodes)

    def ready(self, replica: ScheduledReplica, capacity: int, now: float) -> None:
        """A replica has loaded."""
        engine = self.engines[replica.engine]
        replica.phase, replica.capacity, replica.ready_at = Phase.READY, capacity, now
        del engine.starting[replica.id]
        engine.ready[replica.id] = replica
        engine.idle.add(replica.id)
        engine.estimate.loaded(now - replica.began_at)
        heapq.heappush(engine.hungry, (0, replica.id))

    def give(self, replica: ScheduledReplica) -> Slice:
        """The next ready slice of its engine, now the replica's."""
        engine = self.engines[replica.engine]
        last = next(reversed(replica.slices), None)
        return self._hold(replica, self.backlog.take(replica.engine, engine.estimate.tokens_per_row, last))

    def give_probe(self, replica: ScheduledReplica) -> Slice:
        """The next slice of its engine to be probed, now the business of a replica that holds nothing."""
        replica.is_probing = True
        return self._hold(replica, self.backlog.take_probe(replica.engine))

    def _hold(self, replica: ScheduledReplica, slice_: Slice) -> Slice:
        replica.slices[slice_] = None
        self.engines[replica.engine].idle.discard(replica.id)
        replica.rows += slice_.num_rows
        return slice_

    def take_off(self, replica: ScheduledReplica, slice_: Slice) -> bool:
        """Takes a slice off a replica; False where it is not the replica's."""
        if slice_ not in replica.slices:
            return False
        del replica.slices[slice_]
        replica.rows -= slice_.num_rows
        replica.is_probing = False
        self.note_done(replica, max(0, replica.rows_done - slice_.num_rows))
        if replica.phase is Phase.READY and not replica.slices:
            self.engines[replica.engine].idle.add(replica.id)
        return True

    def note_done(self, replica: ScheduledReplica, num_rows: int) -> None:
        """So many rows of what a replica holds are finished."""
        replica.rows_done = min(num_rows, replica.rows)
        if self.has_room(replica):
            heapq.heappush(self.engines[replica.engine].hungry, (replica.rows_left, replica.id))

    def has_room(self, replica: ScheduledReplica) -> bool:
        """Whether a replica should hold another slice."""
        if replica.phase is not Phase.READY or replica.is_probing:
            return False
        return not replica.slices or replica.rows_left < DEPTH * replica.capacity + self._until_told(replica)

    def _until_told(self, replica: ScheduledReplica) -> float:
        """Rows that a replica finishes until the caller says how far it is.

        What is expected of a replica is not believed before it has been seen: a speed that is a thousand times too high
        would have it hold thousands of slices.
        """
        row_s = self.engines[replica.engine].estimate.row_work_s(next(iter(replica.slices)).step)
        return min(PROGRESS_S / row_s, replica.capacity + replica.rows_finished)

    def drain(self, replica: ScheduledReplica) -> None:
        """A replica is given no more, and is stopped once it has finished what it has."""
        replica.phase = Phase.DRAINING
        self._strike(replica)

    def stop(self, replica: ScheduledReplica) -> Stop:
        """A replica is stopped."""
        replica.phase = Phase.LEAVING
        self._strike(replica)
        return Stop(replica.id)

    def lose(self, replica: ScheduledReplica, *, is_blamed: bool = False) -> list[Slice]:
        """A replica has died: its slices are ready again, in their order; those to be probed from now on."""
        replica.phase = Phase.LEAVING
        self._strike(replica)
        probes = [slice_ for slice_ in replica.slices if self.backlog.mark(slice_)] if is_blamed else []
        for slice_ in reversed(replica.slices):
            self.backlog.give_back(slice_)
        replica.slices.clear()
        replica.rows = replica.rows_done = 0
        return probes

    def remove(self, replica: ScheduledReplica) -> None:
        """Frees what a replica reserved."""
        del self.replicas[replica.id]
        self._strike(replica)
        del self.leaving[replica.id]
        self.places.release(self.engines[replica.engine].profile.need, replica.nodes)

    def would_fit(self, key: str, without: Sequence[ScheduledReplica]) -> bool:
        """Whether an engine's replica had room if these were gone."""
        for replica in without:
            self.places.release(self.engines[replica.engine].profile.need, replica.nodes)
        found = self.places.find(self.engines[key].profile.need)
        for replica in without:
            self.places.reserve(self.engines[replica.engine].profile.need, replica.nodes)
        return found is not None

    def _strike(self, replica: ScheduledReplica) -> None:
        engine = self.engines[replica.engine]
        engine.starting.pop(replica.id, None)
        engine.ready.pop(replica.id, None)
        engine.idle.discard(replica.id)
        self.leaving[replica.id] = replica

"""The policy: which replica to start, feed and stop. Values in, values out; no Ray, no clock, no disk.

- Load once: a replica stays while its engine has rows to come, unless it stands idle in the way of one that has work.
- Work-conserving: what fits is started as soon as it has something to do.
- Longest expected first.
- Enough in flight: a replica holds its capacity and one slice more, so that no slice's end is a barrier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from eibench_ray.schedule.state import NOTHING, EngineView, Phase, ReplicaView, State


@dataclass(frozen=True, slots=True)
class Start:
    """Start a replica of an engine."""

    engine: str


@dataclass(frozen=True, slots=True)
class Feed:
    """Give a replica the next `num_tasks` ready slices of its engine."""

    replica: int
    num_tasks: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a replica that has nothing in flight."""

    replica: int


Action = Start | Feed | Stop


def decide(state: State) -> list[Action]:
    """What to do now, to be asked again once that is done; nothing until something changes."""
    if feeds := list(_feeds(state)):
        return list(feeds)  # what is left then says whether more replicas pay
    stops = list(_stops(state))
    return [*stops, *_starts(state, {stop.replica for stop in stops})]


def _feeds(state: State) -> Iterator[Feed]:
    """Ready slices to ready replicas, the emptiest first, each up to its capacity and one slice more."""
    for engine in state.engines.values():
        queue = list(engine.ready)
        for replica in sorted(_ready(state, engine.key), key=lambda replica: replica.in_flight):
            in_flight, num_tasks = replica.in_flight, 0
            while queue and in_flight < replica.capacity:
                in_flight += queue.pop(0)
                num_tasks += 1
            if num_tasks:
                yield Feed(replica.id, num_tasks)


def _stops(state: State) -> Iterator[Stop]:
    """Idle replicas whose engine is through, and those that stand in the way of an engine with work.

    Of the latter no more than make room, those with the least to come first, and none where all are too little.
    """
    coming = state.free + state.leaving
    waiting: list[ReplicaView] = []
    for replica in state.replicas:
        engine = state.engines[replica.engine]
        if replica.phase is not Phase.READY or replica.in_flight or engine.ready:
            continue
        if not engine.blocked_rows:
            coming += engine.need
            yield Stop(replica.id)
        elif engine.need != NOTHING:
            waiting.append(replica)
    waiting.sort(key=lambda replica: state.engines[replica.engine].expected_s)
    for starved in _starved(state):
        room, count = coming, 0
        while count < len(waiting) and not room.covers(starved.need):
            room += state.engines[waiting[count].engine].need
            count += 1
        if room.covers(starved.need):
            yield from (Stop(replica.id) for replica in waiting[:count])
            waiting, coming = waiting[count:], room - starved.need


def _starts(state: State, stopping: set[int]) -> Iterator[Start]:
    """Replicas for engines with work, longest expected first, then second copies where the backlog pays for them.

    What a replica that is being stopped holds is free only once it has gone: it is not counted here.
    """
    free = state.free
    counts = Counter(replica.engine for replica in state.replicas if replica.id not in stopping)
    for engine in _starved(state):
        if free.covers(engine.need):
            free -= engine.need
            counts[engine.key] += 1
            yield Start(engine.key)
    if any(counts[engine.key] == 0 for engine in _starved(state)):
        return
    for engine in sorted(state.engines.values(), key=lambda engine: -engine.expected_s):
        while _wants_another(state, engine, counts[engine.key]) and free.covers(engine.need):
            free -= engine.need
            counts[engine.key] += 1
            yield Start(engine.key)


def _starved(state: State) -> list[EngineView]:
    """Engines with ready slices and no replica, longest expected first."""
    served = {replica.engine for replica in state.replicas}
    waiting = [engine for engine in state.engines.values() if engine.ready and engine.key not in served]
    return sorted(waiting, key=lambda engine: -engine.expected_s)


def _wants_another(state: State, engine: EngineView, count: int) -> bool:
    """Whether a further copy pays: there is a batch for it, and what is left takes longer than loading it."""
    known = [replica.capacity for replica in _ready(state, engine.key)]
    if not known or not engine.ready or count >= engine.max_replicas:
        return False
    num_batches = min(len(engine.ready), sum(engine.ready) // max(known))
    return num_batches > count - len(known) and engine.expected_s - engine.load_s > count * engine.load_s


def _ready(state: State, engine: str) -> list[ReplicaView]:
    return [replica for replica in state.replicas if replica.engine == engine and replica.phase is Phase.READY]

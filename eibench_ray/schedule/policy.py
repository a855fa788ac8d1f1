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

from eibench_ray.schedule.state import EngineView, Phase, ReplicaView, State


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
    """What to do now; nothing when there is nothing to do until something changes."""
    stops = list(_stops(state))
    return [*_feeds(state), *stops, *_starts(state, {stop.replica for stop in stops})]


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
    """Idle replicas whose engine is through, or that stand in the way of an engine with work."""
    starved = _starved(state)
    for replica in state.replicas:
        engine = state.engines[replica.engine]
        if replica.phase is not Phase.READY or replica.in_flight or engine.ready:
            continue
        is_through = not engine.blocked_rows
        is_in_the_way = bool(starved) and not any(state.free.covers(other.need) for other in starved)
        if is_through or is_in_the_way:
            yield Stop(replica.id)


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
    """Whether the ready rows fill more than the replicas there are."""
    if count == 0 or count >= engine.max_replicas:
        return False
    known = [replica.capacity for replica in _ready(state, engine.key)]
    return bool(known) and sum(engine.ready) > count * max(known)


def _ready(state: State, engine: str) -> list[ReplicaView]:
    return [replica for replica in state.replicas if replica.engine == engine and replica.phase is Phase.READY]

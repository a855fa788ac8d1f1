"""Decides which replicas to start, drain and stop, for the horizon that the forecast sees."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from eibench_ray.schedule.actions import Action, Start, Stop
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.remaining_work import RemainingWork
from eibench_ray.schedule.resources import Phase
from eibench_ray.schedule.scheduler_state import ScheduledReplica, SchedulerState

# Latest starts that differ by less than this share of the horizon are equal.
SOON = 0.02


@dataclass(frozen=True, slots=True, order=True)
class ReplicaShare:
    """The work of one further replica; the one to start first is the largest.

    What must begin now to end by the horizon comes first, then what can be asked now, then what must begin sooner; of
    equals an engine's only replica, then the longest.
    """

    is_due: bool  # whether its latest start is now
    is_there: bool  # whether its engine has rows that can be asked now; else it waits for others
    leisure: int  # the time until its latest start, negative, in steps that make about the same times equal
    is_first: bool  # whether the engine has no other
    length_s: float  # seconds, load included
    engine: str


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A request for a node, lest smaller replicas take each GPU of it as it becomes free."""

    needs_gpus: bool  # whether it needs GPUs; if so, what needs none may start beside it
    is_first: bool  # whether its engine has no replica; if it has, an engine without one is not kept waiting for it


def review(state: SchedulerState, found: RemainingWork, now: float) -> Iterator[Action]:
    """Decides what to stop and start now; every action counts as done."""
    yield from _stop_finished(state)
    held: dict[str, set[StartRequest]] = {}  # by node
    unmet: list[tuple[ReplicaShare, str]] = []
    nearly: dict[str, str | None] = {}  # engine without a place -> the node that lacks least for one of its replicas
    for share in sorted(_shares(found), reverse=True):
        key = share.engine
        if not (share.is_there or _waits_with_reason(state, key)):
            continue
        if key not in nearly:
            if (start := state.start(key, now, _barred(state, held, key))) is not None:
                yield start
                continue
            nearly[key] = state.places.find_nearly(state.engines[key].profile.need)
        node = nearly[key]
        if node is not None and (share.is_there or share.is_due) and state.can_use(key, now):
            unmet.append((share, node))
            needs_gpus = state.engines[key].profile.need.gpus > 0
            held.setdefault(node, set()).add(StartRequest(needs_gpus, not state.engines[key].count))
    _drain(state, found, unmet)
    yield from _start_copies(state, found, now, held)
    yield from _make_room(state, found, now)


def _barred(state: SchedulerState, held: Mapping[str, set[StartRequest]], key: str) -> set[str]:
    """The held nodes that an engine must leave alone."""
    needs_gpus = state.engines[key].profile.need.gpus > 0
    is_starved = not state.engines[key].count and state.backlog.num_ready(key) > 0
    return {
        node
        for node, requests in held.items()
        if any((needs_gpus or not one.needs_gpus) and (one.is_first or not is_starved) for one in requests)
    }


def _shares(found: RemainingWork) -> Iterator[ReplicaShare]:
    """The work of each replica that is still to be loaded."""
    for key, demand in found.demands.items():
        num_new = demand.num_new(found.horizon_s)
        if num_new == math.inf:
            num_new = 0 if demand.count else 1
        share_s = demand.work_s / max(1, demand.count + num_new)
        there_s = demand.ready_s
        for number, start_s in enumerate(demand.latest_starts(found.horizon_s, int(num_new))):
            length_s = demand.load_s + (min(share_s, there_s) if there_s > 0 else share_s)
            leisure = 0 if found.horizon_s == math.inf else -round(start_s / (SOON * found.horizon_s))
            yield ReplicaShare(leisure == 0, demand.ready_s > 0, leisure, demand.count + number == 0, length_s, key)
            there_s -= share_s


def _waits_with_reason(state: SchedulerState, key: str) -> bool:
    """Whether what an engine waits for is being made, and none of its replicas waits for it, or waited in vain."""
    engine = state.engines[key]
    is_made = any(state.engines[source].count for source in state.backlog.sources[key])
    return is_made and not engine.idle and not engine.waited_for_nothing


def _drain(state: SchedulerState, found: RemainingWork, unmet: list[tuple[ReplicaShare, str]]) -> None:
    """Drains replicas that their engine can spare by the horizon, for what has no place, the most wanted first."""
    spare = {
        key: demand.num_ready - demand.num_kept(found.horizon_s)
        for key, demand in found.demands.items()
        if demand.units and demand.num_ready > 1 and not demand.num_starting and not state.backlog.blocked_rows(key)
    }
    coming = sum(state.units(replica.engine) for replica in state.leaving.values())
    for share, node in unmet:
        need = state.units(share.engine)
        coming, missing = max(0.0, coming - need), max(0.0, need - coming)
        for key in spare:
            for replica in list(state.engines[key].ready.values()) if key != share.engine else ():
                if missing <= 0 or spare[key] <= 0:
                    break
                if need <= 1 or node in replica.nodes:
                    spare[key] -= 1
                    missing -= state.units(replica.engine)
                    state.drain(replica)
        if missing > 0:
            return


def _start_copies(
    state: SchedulerState, found: RemainingWork, now: float, held: Mapping[str, set[StartRequest]]
) -> Iterator[Start]:
    """Further replicas on what would stand idle, each for the engine that takes longest for what can be asked now."""
    wanting = {key: demand for key, demand in found.demands.items() if state.backlog.num_ready(key)}

    def left_s(key: str) -> float:
        """Seconds until the replicas that the engine has are through; the copies of this review load as long as one."""
        demand, count = wanting[key], max(1, state.engines[key].count)
        loading_s = demand.num_starting * demand.starting_s + (count - demand.count) * demand.load_s
        return (demand.ready_s + loading_s) / count

    while wanting:
        key = max(wanting, key=left_s)
        # Else the others would be through before a copy has loaded, or soon after.
        pays = left_s(key) > wanting[key].load_s + wanting[key].worth_s
        start = state.start(key, now, _barred(state, held, key)) if pays else None
        if start is None:
            del wanting[key]
        else:
            yield start


def _make_room(state: SchedulerState, found: RemainingWork, now: float) -> Iterator[Stop]:
    """Stops idle replicas for an engine that has rows to ask and no replica; those with the least to come first.

    Only where nothing is leaving anyway, and where nothing is being made that they wait for.
    """
    order = sorted(found.demands, key=lambda key: found.demands[key].work_s, reverse=True)
    starved = [
        key
        for key in order
        if not state.engines[key].count and state.backlog.num_ready(key) and now >= state.engines[key].rests_until
    ]
    if not starved or state.leaving:
        return
    idle = _in_the_way(state)
    idle.sort(key=lambda replica: state.backlog.blocked_rows(replica.engine))
    for key in starved:
        for count in range(1, len(idle) + 1) if state.would_fit(key, idle) else ():
            if state.would_fit(key, idle[:count]):
                for replica in idle[:count]:
                    state.engines[replica.engine].waited_for_nothing = True
                    yield state.stop(replica)
                return


def _in_the_way(state: SchedulerState) -> list[ScheduledReplica]:
    """Replicas that hold room and wait for what nobody makes; that others wait as they do makes nothing."""
    waiting = {key for key, engine in state.engines.items() if engine.idle and not state.backlog.num_ready(key)}
    at_work = {
        key
        for key, engine in state.engines.items()
        if engine.count and (key not in waiting or engine.count > len(engine.idle))
    }
    return [
        replica
        for key in waiting
        if at_work.isdisjoint(_all_sources(state.backlog, key))
        for number, replica in state.engines[key].ready.items()
        if number in state.engines[key].idle and replica.nodes
    ]


def _all_sources(backlog: Backlog, key: str) -> set[str]:
    """The engines that one waits for, directly or through others."""
    found: set[str] = set()
    new = {key}
    while new := {source for one in new for source in backlog.sources[one]} - found:
        found |= new
    return found


def _stop_finished(state: SchedulerState) -> Iterator[Stop]:
    """Stops replicas that are drained, and idle or loading ones to which nothing can come any more."""
    for key, engine in state.engines.items():
        if (engine.idle or engine.starting) and state.is_through(key):
            yield from map(state.stop, [*engine.starting.values(), *map(engine.ready.__getitem__, sorted(engine.idle))])
    drained = [replica for replica in state.leaving.values() if replica.phase is Phase.DRAINING and not replica.slices]
    yield from map(state.stop, drained)

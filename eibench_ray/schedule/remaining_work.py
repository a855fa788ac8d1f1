"""The work that is left for each engine, as the horizon's arithmetic wants it, from the state and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eibench_ray.schedule.policy import Demand, choose_horizon, pile_up
from eibench_ray.schedule.row_arrivals import SMALL_BATCHES, Pace, RowArrival, RowArrivals
from eibench_ray.schedule.scheduler_state import SchedulerState

# A further replica must have this share of its load time to work, or it is not worth the load.
WORTH_LOAD = 0.05
# When rows come depends on the horizon, and the horizon on when they come: it is looked for until it moves no more than
# this, or so often.
CLOSE = 0.02
ROUNDS = 3
# Where this share of the GPUs, or cores, is enough, there may be more replicas, so that batches are not full and rows
# are through sooner: shorter horizons are tried, the shortest first.
SPARE = 0.95
SHORTER = tuple(percent / 100 for percent in range(74, 100, 2))


@dataclass(frozen=True, slots=True)
class RemainingWork:
    """The work that is left, and the time by which it can be done."""

    demands: Mapping[str, Demand]  # of the engines that have something left, by key
    horizon_s: float  # seconds; math.inf where something fits on no node
    end_s: float  # likewise, of all of it: an endpoint may take longer than what needs GPUs, which are let go then


@dataclass(frozen=True, slots=True)
class _Begun:
    """The work that an engine's replicas hold, in seconds of a full replica: done and not done."""

    done_s: float
    held_s: float


def forecast(state: SchedulerState, now: float, guess_s: float | None = None) -> RemainingWork:
    """The forecast of this moment."""
    live = [
        key
        for key, engine in state.engines.items()
        if (engine.count or not state.is_through(key)) and state.backlog.rows_left(key)
    ]
    aimed = _find_aimed(state, live)
    num_units = state.places.num_units(state.unit)
    begun = {key: _find_begun(state, key, now) for key in live}
    demands: dict[str, Demand] = {}
    full = RowArrivals(state, now)
    horizon_s, before_s = guess_s or _all_at_full_speed_s(state, live), math.inf
    for _ in range(ROUNDS):
        if horizon_s == math.inf or abs(horizon_s - before_s) <= CLOSE * horizon_s:
            break
        demands, before_s = _demands(state, now, full, begun, horizon_s), horizon_s
        horizon_s = choose_horizon([demands[key] for key in aimed], num_units)
    if 0 < _num_units([demands[key] for key in aimed], horizon_s) <= SPARE * num_units:
        small = RowArrivals(state, now, SMALL_BATCHES)
        for share in SHORTER:
            sooner_s = share * horizon_s
            paced = _demands(state, now, small, begun, sooner_s)
            if _num_units([paced[key] for key in aimed], sooner_s) <= num_units:
                demands, horizon_s = paced, sooner_s
                break
    end_s = horizon_s if len(aimed) == len(live) else choose_horizon(list(demands.values()), num_units)
    return RemainingWork(demands, horizon_s, max(horizon_s, end_s))


def _num_units(demands: Sequence[Demand], horizon_s: float) -> float:
    """Units of all replicas that it takes to end by the horizon, side by side; inf where no number is enough."""
    counts = [demand.count + demand.num_new(horizon_s) for demand in demands]
    if math.inf in (horizon_s, *counts):
        return math.inf
    return sum(demand.units * count for demand, count in zip(demands, counts, strict=True))


def _find_aimed(state: SchedulerState, keys: list[str]) -> list[str]:
    """The engines whose work is to fit into the horizon: those with units and what they read from; else all."""
    aimed = {key for key in keys if state.units(key)}
    new = aimed
    while new := {source for key in new for source in state.backlog.sources[key]} - aimed:
        aimed |= new
    return [key for key in keys if key in aimed] or keys


def _all_at_full_speed_s(state: SchedulerState, keys: list[str]) -> float:
    """Seconds that all rows and a load of each engine would take if units could be shared out at will."""
    used_s = 0.0
    for key in keys:
        engine = state.engines[key]
        work_s = engine.estimate.work_s(state.backlog.rows_left(key))
        used_s += state.units(key) * (work_s + engine.estimate.load_s)
    return used_s / max(1.0, state.places.num_units(state.unit))


def _find_begun(state: SchedulerState, key: str, now: float) -> _Begun:
    engine, rows_left = state.engines[key], state.backlog.rows_left(key)
    row_s = engine.estimate.work_s(rows_left) / sum(rows_left.values())
    rows_begun = sum([replica.rows_begun(row_s, now) for replica in engine.ready.values()])
    rows_held = sum([replica.rows for replica in engine.ready.values()])
    return _Begun(rows_begun * row_s, (rows_held - rows_begun) * row_s)


def _demands(
    state: SchedulerState, now: float, arrivals: RowArrivals, begun: Mapping[str, _Begun], horizon_s: float
) -> dict[str, Demand]:
    streams, pace = arrivals.until(horizon_s), arrivals.pace
    return {key: _demand(state, key, now, streams, pace, held, horizon_s) for key, held in begun.items()}


def _demand(
    state: SchedulerState,
    key: str,
    now: float,
    streams: Mapping[str, RowArrival],
    pace: Pace,
    begun: _Begun,
    horizon_s: float,
) -> Demand:
    engine, backlog = state.engines[key], state.backlog
    estimate, rows_left = engine.estimate, backlog.rows_left(key)
    speed = estimate.paced_speed(pace.token_share)
    parts = []
    for step, num_rows in rows_left.items():
        row_work_s = estimate.row_work_s(step)
        parts += [(head_s, rows * row_work_s / speed) for head_s, rows in streams[step].parts(num_rows, horizon_s)]
    grain_s = max(head_s for head_s, _ in parts) / pace.max_heads or 1.0
    piled = pile_up((head_s // grain_s * grain_s, work_s) for head_s, work_s in parts)
    work_s = max(piled[-1][1] - begun.done_s, 0.0)
    loading_s = sum(max(0.0, replica.began_at + estimate.load_s - now) for replica in engine.starting.values())
    return Demand(
        work=tuple((head_s, min(late_s, work_s)) for head_s, late_s in piled),
        load_s=estimate.load_s,
        units=state.units(key),
        tail_s=min(streams[step].tail_s for step in rows_left),
        num_ready=len(engine.ready),
        num_starting=len(engine.starting),
        starting_s=loading_s / max(1, len(engine.starting)),
        most=min(engine.most, len(engine.ready) + max(len(engine.starting), backlog.num_untaken(key))),
        ready_s=estimate.work_s(backlog.ready_rows(key)),
        held_s=begun.held_s / max(1, len(engine.ready)),
        worth_s=WORTH_LOAD * estimate.load_s,
    )

"""What is left for each engine as the horizon's arithmetic wants it, from the roster and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from eibench_ray.schedule.policy import Demand, find_horizon, pile_up
from eibench_ray.schedule.roster import Engine, Roster

# The horizon for replicas that all start now is taken where it is no more than this longer than the one for replicas
# that follow one another on the same GPUs: it is kept to, the other is not quite (simulated on 8 to 512 GPUs).
AT_ONCE = 1.3
# A further replica must have this share of its load time to work, or it is not worth the load.
WORTH_LOAD = 0.05
# When the rows of a step come, seen from its start: after one row's time, and this share of the time for all of them.
SPREAD = 0.25
MAX_HEADS = 12


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is left, and by when it can be done.

    Attributes:
        demands: of the engines that have something left, by key.
        horizon_s: seconds; math.inf where something fits on no node.
    """

    demands: Mapping[str, Demand]
    horizon_s: float


def forecast(roster: Roster, now: float) -> Forecast:
    """The forecast of this moment."""
    # When rows come depends on how many replicas make them, and the other way round: two rounds are enough.
    found = _forecast(roster, now, {})
    counts = {key: demand.count + demand.num_new(found.horizon_s) for key, demand in found.demands.items()}
    return _forecast(roster, now, counts)


def _forecast(roster: Roster, now: float, counts: Mapping[str, float]) -> Forecast:
    heads_s = _heads_s(roster, now, counts)
    demands = {}
    for key, engine in roster.engines.items():
        is_held = engine.count or not roster.is_through(key)
        if is_held and roster.backlog.rows_left(key) and not engine.is_given_up:
            demands[key] = _demand(roster, key, now, heads_s)
    listed, num_gpus = list(demands.values()), roster.places.num_gpus
    horizon_s = find_horizon(listed, num_gpus)
    at_once_s = find_horizon(listed, num_gpus, at_once=True)
    return Forecast(demands, at_once_s if at_once_s <= AT_ONCE * horizon_s else horizon_s)


def _demand(roster: Roster, key: str, now: float, heads_s: Mapping[str, float]) -> Demand:
    engine = roster.engines[key]
    estimate = engine.estimate
    left_s = sum(max(0.0, replica.began_at + estimate.load_s - now) for replica in engine.starting.values())
    rows_left = roster.backlog.rows_left(key)
    # A few heads are enough: the horizon is found by trying, each time over all of them.
    grain_s = max(heads_s.values(), default=0.0) / MAX_HEADS or 1.0
    return Demand(
        work=pile_up(
            (heads_s[step] // grain_s * grain_s, estimate.row_work_s(step) * n) for step, n in rows_left.items()
        ),
        load_s=estimate.load_s,
        gpus=engine.profile.need.gpus,
        num_ready=len(engine.ready),
        num_starting=len(engine.starting),
        starting_s=left_s / max(1, len(engine.starting)),
        most=min(engine.most, len(engine.ready) + max(len(engine.starting), roster.backlog.num_untaken(key))),
        ready_s=estimate.work_s(roster.backlog.ready_rows(key)),
        worth_s=WORTH_LOAD * estimate.load_s,
    )


def _heads_s(roster: Roster, now: float, counts: Mapping[str, float]) -> dict[str, float]:
    """Per step, the seconds until its rows can be asked."""
    wait_s = {key: _wait_s(engine, now) for key, engine in roster.engines.items()}
    heads: dict[str, float] = {}
    made: dict[str, float] = {}
    for step, key, sources in roster.backlog.steps:
        estimate = roster.engines[key].estimate
        heads[step] = made[step] = max((made[source] for source in sources), default=0.0)
        rows_left = roster.backlog.rows_left(key).get(step, 0)
        is_begun = not heads[step] and not wait_s[key] and step not in roster.backlog.ready_rows(key)
        if not rows_left or is_begun:
            continue  # what is not there yet comes at any moment
        made[step] = max(heads[step], wait_s[key]) + estimate.row_s(step)
        if 0 < (count := counts.get(key, 0)) < math.inf:
            made[step] += SPREAD * estimate.row_work_s(step) * rows_left / count
    return heads


def _wait_s(engine: Engine, now: float) -> float:
    """Seconds until an engine's first replica is ready, if one is started now where there is none."""
    if engine.ready:
        return 0.0
    began = min((replica.began_at for replica in engine.starting.values()), default=now)
    return max(0.0, began + engine.estimate.load_s - now)

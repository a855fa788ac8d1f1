"""A lower bound of the wall-clock time, which no schedule of the same sweep on the same cluster can beat.

The largest of these, each of which holds for any schedule of wall-clock time T:

1. *A row's way.* Its steps follow one another, each in a batch of its own at best, once its engine has loaded.
2. *Each engine.* The rows that cannot reach it before some second, its head, are worked on between that (or the end of
   a load) and the tail that the last of them leaves to others. A replica which runs v decoding steps in that time for k
   tokens takes alpha x v + beta x k seconds (`DecodeSpeed`), where v is at least its longest row and at least
   k / capacity. Fewest replicas are needed where the longest rows share replicas: they are filled in that order, a
   row split where a replica is full, and n(T) are counted. An endpoint is one replica: its capacity is what it may be
   asked at once, its speed at most what its account's requests and tokens per minute allow (`engine_profiles`).
3. *All GPUs*, or all cores where no engine owns a GPU. Loads and full batches take T x GPUs at most: the sum of gpus x
   (W + n(T) x load); and what cannot begin before some second fits into the GPUs' time from then on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eibench_ray.estimate.critical_path import RowPaths
from eibench_ray.plan.graph import Plan
from eibench_ray.schedule.decode_speed import DecodeSpeed
from eibench_ray.schedule.resources import EngineProfile, Resources, Unit, scarce_unit, units_of

Lengths = NDArray[np.float64]

_CLOSE = 1e-3


def lower_bound_s(
    plan: Plan, profiles: Mapping[str, EngineProfile], lengths: Mapping[str, Lengths], total: Resources
) -> float:
    """Seconds that every schedule takes at least.

    Args:
        plan: the sweep.
        profiles: the engines' true speeds.
        lengths: per step with something to do, the tokens of each row of its dataset; 0 where a row is done.
        total: cores and GPUs of the cluster, as if all were there from the beginning.
    """
    steps = [step for step in plan.steps.values() if step.id in lengths]
    tick_s = {key: DecodeSpeed.of(profile).alone_tick_s for key, profile in profiles.items()}
    row_s = {step.id: lengths[step.id] * tick_s[step.engine] for step in steps}
    ways = RowPaths(steps, row_s, {key: profile.load_s for key, profile in profiles.items()})
    loads = []
    for key, profile in profiles.items():
        own = [step for step in lengths if plan.steps[step].engine == key]
        if own:
            loads.append(_engine_load(profile, own, ways, lengths))
    longest = max(1.0, ways.longest_s)
    unit = scarce_unit(profile.need for profile in profiles.values())
    num_units = units_of(total, unit)
    while not _fits(loads, unit, num_units, longest):
        longest *= 2
    shortest = ways.longest_s
    while longest - shortest > _CLOSE * longest:
        middle = (shortest + longest) / 2
        if _fits(loads, unit, num_units, middle):
            longest = middle
        else:
            shortest = middle
    return shortest


@dataclass(frozen=True, slots=True)
class _LoadPart:
    """The rows that reach an engine at some second or later: their lengths, longest first, and running totals."""

    head_s: float
    lengths: Lengths
    totals: Lengths


@dataclass(frozen=True, slots=True)
class _EngineLoad:
    """One engine's rows."""

    profile: EngineProfile
    speed: DecodeSpeed
    tail_s: float
    work_s: float
    parts: tuple[_LoadPart, ...]

    def needs(self, horizon_s: float) -> list[_PartNeed] | None:
        """The replicas that each part takes to end by the horizon; None where no number does."""
        needs = []
        for part in self.parts:
            window_s = horizon_s - self.tail_s - max(part.head_s, self.profile.load_s)
            count = _fill(part, self.speed, window_s)
            if count == math.inf or count > self.profile.most:
                return None
            # All but the last replica are full throughout the window.
            busy_s = max(float(part.totals[-1]) / self.profile.tokens_per_s, (count - 1) * window_s)
            needs.append(_PartNeed(part.head_s, count, busy_s))
        return needs


@dataclass(frozen=True, slots=True)
class _PartNeed:
    """Replicas, and seconds that they are busy in all, from the part's head on."""

    head_s: float
    count: float
    busy_s: float


def _engine_load(
    profile: EngineProfile, steps: list[str], ways: RowPaths, lengths: Mapping[str, Lengths]
) -> _EngineLoad:
    parts = []
    for head_s in sorted({ways.heads_s[step] for step in steps}):
        rows = np.concatenate([lengths[step] for step in steps if ways.heads_s[step] >= head_s])
        rows = np.sort(rows)[::-1]
        parts.append(_LoadPart(head_s, rows, np.concatenate([[0.0], np.cumsum(rows)])))
    work_s = float(parts[0].totals[-1]) / profile.tokens_per_s
    tail_s = min(ways.tails_s[step] for step in steps)
    return _EngineLoad(profile, DecodeSpeed.of(profile), tail_s, work_s, tuple(parts))


def _fill(part: _LoadPart, speed: DecodeSpeed, window_s: float) -> float:
    """Fewest replicas that take these rows in a window, each row whole or split."""
    count, done, total = 0, 0.0, float(part.totals[-1])
    while done < total * (1 - _CLOSE):
        first = int(np.searchsorted(part.totals, done, side="right")) - 1
        longest = part.lengths[min(first, len(part.lengths) - 1)]
        spare_s = window_s - speed.alpha * longest
        room = min(spare_s / speed.beta if speed.beta else math.inf, speed.tokens_per_s * window_s)
        if spare_s <= 0 or room <= 0:
            return math.inf
        if longest * speed.capacity <= room:  # from here on every replica runs full batches throughout
            return count + math.ceil((total - done) / (speed.tokens_per_s * window_s) - _CLOSE)
        done += room
        count += 1
    return count


def _fits(loads: list[_EngineLoad], unit: Unit, num_units: float, horizon_s: float) -> bool:
    used_s = 0.0
    found: list[tuple[float, list[_PartNeed]]] = []
    for load in loads:
        if (needs := load.needs(horizon_s)) is None:
            return False
        units = load.profile.need.units(unit)
        found.append((units, needs))
        used_s += units * (needs[0].busy_s + max(need.count for need in needs) * load.profile.load_s)
    if used_s > num_units * horizon_s:
        return False
    for head_s in {need.head_s for _, needs in found for need in needs}:
        late_s = sum(
            units * max((n.busy_s for n in needs if n.head_s >= head_s), default=0.0) for units, needs in found
        )
        if late_s > num_units * (horizon_s - head_s):
            return False
    return True

"""The policy's arithmetic: by when everything can be done, and how many replicas of each engine that takes.

A sweep's horizon T is the shortest time in which its work fits into the cluster, loads included:

- an engine with W seconds of work for one replica needs n(T) = ceil(W / (T - h)) replicas, where h is the head: the
  seconds before a replica can begin (its load, or the first answer that it reads);
- all of them fit: the sum over engines of gpus x (W + n(T) x load) is at most T x the cluster's GPUs.

Both only get easier as T grows, so bisection finds it; the replicas that T takes are those worth loading. The lower
bound of a simulation (`schedule/bound.py`) goes the same way with the true length of every row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_CLOSE = 1e-3
_FOR_EVER = 1e12  # s


@dataclass(frozen=True, slots=True)
class Demand:
    """One engine's share of what is left.

    Attributes:
        work: (head, seconds) pairs, the latest head first: from that second on at the earliest, what a full replica
            takes for the rows that come no earlier. The last pair is all of the work.
        load_s: seconds that a further replica takes to load.
        tail_s: seconds that must pass after its last row, for what others make of it.
        gpus: of one replica.
        num_ready: replicas that are at work.
        num_starting: replicas that load.
        starting_s: seconds that those take yet, on average.
        most: replicas at the same time; math.inf where nothing limits them.
        ready_s: seconds of work that can be asked now.
        worth_s: seconds of work that a further replica must have to be worth its load.
    """

    work: tuple[tuple[float, float], ...]
    load_s: float
    gpus: float
    tail_s: float = 0.0
    num_ready: int = 0
    num_starting: int = 0
    starting_s: float = 0.0
    most: float = math.inf
    ready_s: float = 0.0
    worth_s: float = 0.0

    @property
    def work_s(self) -> float:
        """Seconds that one full replica takes for all of it."""
        return self.work[-1][1]

    @property
    def count(self) -> int:
        """Replicas that there are."""
        return self.num_ready + self.num_starting

    def num_new(self, horizon_s: float) -> float:
        """Replicas that must still be loaded for the work to end by the horizon; inf where no number is enough."""
        end_s = horizon_s - self.tail_s
        num_new = 0.0 if self.count else 1.0
        if horizon_s == math.inf:
            return num_new
        for head_s, work_s in self.work:
            supply_s = self.num_ready * max(0.0, end_s - head_s)
            supply_s += self.num_starting * max(0.0, end_s - max(head_s, self.starting_s))
            missing_s = work_s - supply_s
            if missing_s <= _CLOSE * work_s:
                continue
            room_s = end_s - max(head_s, self.load_s)
            if room_s <= self.worth_s:
                return math.inf
            num_new = max(num_new, math.ceil(missing_s / room_s - _CLOSE))
        return num_new if not num_new or self.count + num_new <= self.most else math.inf

    def num_kept(self, horizon_s: float) -> float:
        """Replicas at work that are enough for the work to end by the horizon."""
        kept = 1.0
        for head_s, work_s in self.work:
            room_s = horizon_s - self.tail_s - head_s
            if room_s <= 0:
                return math.inf
            kept = max(kept, math.ceil(work_s / room_s))
        return kept


def pile_up(parts: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """`Demand.work` from parts of the work, each with the second before which it cannot begin."""
    piled: dict[float, float] = {}
    total = 0.0
    for head_s, work_s in sorted(parts, reverse=True):
        total += work_s
        piled[head_s] = total
    return tuple(piled.items())


def find_horizon(demands: Sequence[Demand], num_gpus: float, *, at_once: bool = False) -> float:
    """The shortest time in which all of it fits into the cluster, in seconds; inf where there is none.

    Args:
        demands: the engines'.
        num_gpus: of the cluster.
        at_once: every replica has its GPUs from now on; else GPUs may serve one after another.
    """
    fits = _fits_at_once if at_once else _fits
    longest = 1.0
    while not fits(demands, num_gpus, longest):
        longest *= 2
        if longest > _FOR_EVER:
            return math.inf
    shortest = longest / 2 if longest > 1.0 else 0.0
    while longest - shortest > _CLOSE * max(longest, 1.0):
        middle = (shortest + longest) / 2
        if fits(demands, num_gpus, middle):
            longest = middle
        else:
            shortest = middle
    return longest


def _fits(demands: Sequence[Demand], num_gpus: float, horizon_s: float) -> bool:
    used_s = 0.0
    for demand in demands:
        num_new = demand.num_new(horizon_s)
        if num_new == math.inf:
            return False
        loading_s = num_new * demand.load_s + demand.num_starting * demand.starting_s
        used_s += demand.gpus * (demand.work_s + loading_s)
    return used_s <= num_gpus * horizon_s and _fits_late(demands, num_gpus, horizon_s)


def _fits_late(demands: Sequence[Demand], num_gpus: float, horizon_s: float) -> bool:
    """Whether what cannot begin before some second fits into the time from then on, loads left aside."""
    late: dict[float, float] = {}
    for demand in demands:
        before_s = 0.0
        for head_s, work_s in demand.work:
            late[head_s] = late.get(head_s, 0.0) + demand.gpus * (work_s - before_s)
            before_s = work_s
    used_s = 0.0
    for head_s in sorted(late, reverse=True):
        used_s += late[head_s]
        if used_s > num_gpus * (horizon_s - head_s):
            return False
    return True


def _fits_at_once(demands: Sequence[Demand], num_gpus: float, horizon_s: float) -> bool:
    return sum(demand.gpus * (demand.count + demand.num_new(horizon_s)) for demand in demands) <= num_gpus

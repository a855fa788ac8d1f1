"""The policy's arithmetic: by when everything can be done, and how many replicas of each engine that takes.

A sweep's horizon T is the shortest time in which its work fits into the cluster, loads included:

- an engine with W seconds of work for one replica needs n(T) = ceil(W / (T - h)) replicas, where h is the head: the
  seconds before a replica can begin (its load, or the first answer that it reads);
- all of them fit: the sum over engines of units x (W + n(T) x load) is at most T x the cluster's units: its GPUs, or
  its cores where no engine owns a GPU.

Both only get easier as T grows, so bisection finds it; the replicas that T takes are those worth loading. The lower
bound of a simulation (`estimate/lower_bound.py`) goes the same way with the true length of every row.

Of the n(T) replicas of an engine all but the last are needed all the time, and the last for a part of it. So the last
ones of several engines can follow one another on the same GPUs, if each begins before its latest start.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_CLOSE = 1e-3
_FOR_EVER = 1e12  # s

# A schedule in which GPUs pass from engine to engine is never as tight as T, as whole replicas do not add up to whole
# GPUs. Aimed at T itself, engines seem late all the time and are loaded in vain (simulated, 64 GPUs: it ends 2% later).
STRETCH = 1.03
# Where nothing has to follow anything within this of T, nothing does: there is no time for a second load (simulated,
# the paper's table on 64 GPUs: 1.05 times the bound; where it was 1.05, 1.10).
AT_ONCE = 1.1


@dataclass(frozen=True, slots=True)
class Demand:
    """One engine's share of what is left.

    Attributes:
        work: (head, seconds) pairs, the latest head first: from that second on at the earliest, what a full replica
            takes for the rows that come no earlier. The last pair is all of the work.
    """

    work: tuple[tuple[float, float], ...]
    load_s: float  # seconds that a further replica takes to load
    units: float  # GPUs, or cores, of one replica
    tail_s: float = 0.0  # seconds that must pass after its last row, for what others make of it
    num_ready: int = 0  # replicas that are at work
    num_starting: int = 0  # replicas that load
    starting_s: float = 0.0  # seconds that those take yet, on average
    most: float = math.inf  # replicas at the same time; math.inf where nothing limits them
    ready_s: float = 0.0  # seconds of work that can be asked now
    held_s: float = 0.0  # seconds of work that each replica at work holds, on average; it does that even if it is to go
    worth_s: float = 0.0  # seconds of work that a further replica must have to be worth its load

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
        num_new = 0.0 if self.num_ready or self.num_starting else 1.0
        if horizon_s == math.inf:
            return num_new
        for missing_s, room_s in self._missing(horizon_s):
            if room_s <= self.worth_s:
                return math.inf
            num_new = max(num_new, math.ceil(missing_s / room_s - _CLOSE))
        return num_new if not num_new or self.count + num_new <= self.most else math.inf

    def latest_starts(self, horizon_s: float, num_new: int) -> list[float]:
        """Per further replica, the second from now at which its load must begin for the work to end by the horizon.

        The first ones have the least time; where no start is late enough, as for an engine that lags behind, it is 0.
        """
        end_s = horizon_s - self.tail_s
        starts = [max(0.0, end_s)] * num_new
        if horizon_s == math.inf:
            return starts
        for missing_s, room_s in self._missing(horizon_s):
            for number in range(num_new):
                if (own_s := min(room_s, missing_s - number * room_s)) > 0:
                    starts[number] = max(0.0, min(starts[number], end_s - self.load_s - own_s))
        return starts

    def _missing(self, horizon_s: float) -> Iterator[tuple[float, float]]:
        """For what comes late and for all: the seconds of work that the replicas leave, and those a further one has."""
        end_s = horizon_s - self.tail_s
        for head_s, work_s in self.work:
            # Without a call where it comes to nothing: a forecast comes here most often.
            supply_s = self.num_ready * max(0.0, end_s - head_s) if self.num_ready else 0.0
            if self.num_starting:
                supply_s += self.num_starting * max(0.0, end_s - max(head_s, self.starting_s))
            if work_s - supply_s > _CLOSE * work_s:
                yield work_s - supply_s, end_s - max(head_s, self.load_s)

    def num_kept(self, horizon_s: float) -> float:
        """Replicas at work that are enough for the work to end by the horizon, if the others do what they hold."""
        kept = 1.0
        for head_s, work_s in self.work:
            room_s = horizon_s - self.tail_s - head_s
            if room_s <= 0:
                return math.inf
            # What is held now is no part of what comes late.
            held_s = 0.0 if head_s else min(self.held_s, 0.9 * room_s)
            kept = max(kept, math.ceil((work_s - self.num_ready * held_s) / (room_s - held_s)))
        return kept


def pile_up(parts: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """`Demand.work` from parts of the work, each with the second before which it cannot begin."""
    piled: dict[float, float] = {}
    total = 0.0
    for head_s, work_s in sorted(parts, reverse=True):
        total += work_s
        piled[head_s] = total
    return tuple(piled.items())


def find_horizon(demands: Sequence[Demand], num_units: float, *, at_once: bool = False) -> float:
    """The shortest time in which all of it fits into the cluster, in seconds; inf where there is none."""
    fits = _fits_at_once if at_once else _fits
    longest = 1.0
    while not fits(demands, num_units, longest):
        longest *= 2
        if longest > _FOR_EVER:
            return math.inf
    shortest = longest / 2 if longest > 1.0 else 0.0
    while longest - shortest > _CLOSE * max(longest, 1.0):
        middle = (shortest + longest) / 2
        if fits(demands, num_units, middle):
            longest = middle
        else:
            shortest = middle
    return longest


def choose_horizon(demands: Sequence[Demand], num_units: float, stretch: float = STRETCH) -> float:
    """The time to aim at, in seconds; inf where there is none.

    Args:
        demands: the engines'.
        num_units: GPUs of the cluster, or its cores, as the demands count them.
        stretch: by how much it is longer than the shortest, where units are to pass from engine to engine.
    """
    shortest_s = find_horizon(demands, num_units)
    at_once_s = find_horizon(demands, num_units, at_once=True)
    return at_once_s if at_once_s <= AT_ONCE * shortest_s else stretch * shortest_s


def _fits(demands: Sequence[Demand], num_units: float, horizon_s: float) -> bool:
    used_s = 0.0
    for demand in demands:
        num_new = demand.num_new(horizon_s)
        if num_new == math.inf:
            return False
        loading_s = num_new * demand.load_s + demand.num_starting * demand.starting_s
        used_s += demand.units * (demand.work_s + loading_s)
    return used_s <= num_units * horizon_s and _fits_late(demands, num_units, horizon_s)


def _fits_late(demands: Sequence[Demand], num_units: float, horizon_s: float) -> bool:
    """Whether what cannot begin before some second fits into the time from then on, loads left aside."""
    late: dict[float, float] = {}
    for demand in demands:
        before_s = 0.0
        for head_s, work_s in demand.work:
            late[head_s] = late.get(head_s, 0.0) + demand.units * (work_s - before_s)
            before_s = work_s
    used_s = 0.0
    for head_s in sorted(late, reverse=True):
        used_s += late[head_s]
        if used_s > num_units * (horizon_s - head_s):
            return False
    return True


def _fits_at_once(demands: Sequence[Demand], num_units: float, horizon_s: float) -> bool:
    return sum(demand.units * (demand.count + demand.num_new(horizon_s)) for demand in demands) <= num_units

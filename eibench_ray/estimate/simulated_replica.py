"""A replica that only computes: rows in a batch that slows down as it fills, as continuous batching does.

A decoding step of a batch of b rows takes alpha + beta x b seconds and gives each row a token. In a virtual time that
counts steps, every row runs for as many ticks as it has tokens, in one of `capacity` lanes; how long a tick takes
follows from how many lanes are taken. So a row costs one heap operation, and time is only worked out slice by slice.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable

from eibench_ray.plan.slices import Slice
from eibench_ray.schedule.decode_speed import DecodeSpeed


class SimulatedReplica:
    """One replica's batch."""

    def __init__(self, speed: DecodeSpeed, now: float) -> None:
        self._capacity = speed.capacity
        self._alpha, self._beta = speed.alpha, speed.beta
        self._lanes = [0.0] * speed.capacity  # ticks at which each lane is free, a heap
        self._ends: list[float] = []  # ticks at which each row ends, a heap
        self._rows_popped = 0  # of slices that have ended
        self._rows_ended = 0
        self._slices: list[tuple[float, int, Slice]] = []  # ticks at which each slice ends, a heap
        self._order = itertools.count()
        self._tick = 0.0
        self._now = now

    @property
    def slices(self) -> list[Slice]:
        """The slices that it holds, in no order."""
        return [slice_ for _, _, slice_ in self._slices]

    def add(self, slice_: Slice, tokens: Iterable[float], now: float) -> None:
        """A slice joins the queue; its rows have so many tokens."""
        self._advance(now)
        tick, lanes, last = self._tick, self._lanes, 0.0
        for length in tokens:
            end = max(lanes[0], tick) + length
            heapq.heapreplace(lanes, end)
            heapq.heappush(self._ends, end)
            last = max(last, end)
        heapq.heappush(self._slices, (last, next(self._order), slice_))

    def next_end(self) -> float | None:
        """The time at which the next slice ends if nothing else joins; None where there is none."""
        return self._now + self._seconds_until(self._slices[0][0]) if self._slices else None

    def pop(self, now: float) -> Slice:
        """The slice that ends now."""
        end, _, slice_ = heapq.heappop(self._slices)
        self._tick, self._now = max(end, self._tick), now
        self._rows_popped += slice_.num_rows
        return slice_

    def rows_done(self, now: float) -> int:
        """Rows of the slices that it holds which have ended by now."""
        self._advance(now)
        while self._ends and self._ends[0] <= self._tick:
            heapq.heappop(self._ends)
            self._rows_ended += 1
        return self._rows_ended - self._rows_popped

    def _seconds_until(self, tick: float) -> float:
        ticks = tick - self._tick
        if ticks <= 0:
            return 0.0
        if tick <= self._lanes[0]:
            return ticks * (self._alpha + self._beta * self._capacity)
        taken = sum(min(lane, tick) - self._tick for lane in self._lanes if lane > self._tick)
        return self._alpha * ticks + self._beta * taken

    def _advance(self, now: float) -> None:
        left, self._now = now - self._now, now
        if not self._slices or left <= 0:
            return
        full_s = self._alpha + self._beta * self._capacity
        if self._tick + left / full_s <= self._lanes[0]:
            self._tick += left / full_s
            return
        ends = sorted(lane for lane in self._lanes if lane > self._tick)
        for index, end in enumerate(ends):
            tick_s = self._alpha + self._beta * (len(ends) - index)
            if (end - self._tick) * tick_s > left:
                self._tick += left / tick_s
                return
            left -= (end - self._tick) * tick_s
            self._tick = end

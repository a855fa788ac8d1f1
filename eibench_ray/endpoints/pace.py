"""How fast a pool's requests may follow each other, learnt from what the endpoint lets through. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort
from enum import Enum

# What is remembered of requests, in seconds.
MEMORY_S = 30.0
# The first refusal says little: the endpoint may have let a burst through.
FIRST_LOOK_S = 3.0
# Between two refusals an endpoint gives away exactly what it allows, so this long it is kept at its limit: at 600 a
# minute that tells the limit to 1.7%.
EXPLORE_S = 6.0
# Refusals that lie further apart than this need not have kept the endpoint at its limit.
GAP_S = 8.0
EXPLORE_GROWTH = 1.10  # per second
PROBE_GROWTH = 1.05
SETTLED_SHARE = 0.995
AFTER_LONE_REFUSAL = 0.98
# A probe that comes so far above the settled rate has shown that the limit was raised.
RAISED = 1.5
# Without a word from the endpoint on when to come back, and with nothing let through in between.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0
FIRST_PATIENCE_S, LONGEST_PATIENCE_S = 60.0, 960.0
SLOWEST = 1 / 60  # requests per second


class _Phase(Enum):
    FREE = "free"  # no refusal yet
    EXPLORING = "exploring"  # kept at its limit, to learn it
    SETTLED = "settled"
    PROBING = "probing"  # whether it bears more again


class Pace:
    """The learnt rate of one pool, and the pauses that it asks for."""

    def __init__(self) -> None:
        self.rate: float | None = None  # requests per second; None: nothing was learnt
        self.paused_until = float("-inf")
        self._phase = _Phase.FREE
        self._entries: list[float] = []
        self._refusals: list[float] = []  # when they had entered
        self._since = 0.0  # of the exploration
        self._changed_at = float("-inf")
        self._settled_rate = 0.0
        self._settled_at = 0.0
        self._patience_s = FIRST_PATIENCE_S
        self._pause_s = FIRST_PAUSE_S
        self._pressed_at = 0.0

    def enter(self, now: float) -> None:
        """A request is let through."""
        self._entries.append(now)
        if self._entries[0] < now - 2 * MEMORY_S:
            for times in (self._entries, self._refusals):
                del times[: bisect_right(times, now - MEMORY_S)]

    def press(self, now: float) -> None:
        """A request has to wait for the rate: it is what binds, so that more might pass."""
        if self.rate is None:
            return
        waited_s = min(now - self._pressed_at, 1.0)
        self._pressed_at = now
        if self._phase is _Phase.SETTLED and now > self._settled_at + self._patience_s:
            self._phase = _Phase.PROBING
        if self._phase is _Phase.EXPLORING:
            self.rate *= EXPLORE_GROWTH**waited_s
        elif self._phase is _Phase.PROBING:
            self.rate *= PROBE_GROWTH**waited_s

    def refuse(self, entered: float, retry_after_s: float | None, now: float) -> None:
        """The endpoint has refused (429) a request that entered at some time."""
        last = self._refusals[-1] if self._refusals else float("-inf")
        insort(self._refusals, entered)
        if retry_after_s is not None:
            self.paused_until = max(self.paused_until, now + retry_after_s)
        if entered <= self._changed_at:
            return  # it was under way when the last one taught us
        if self._phase is not _Phase.FREE and self._granted(self._changed_at, entered) <= 0:
            if retry_after_s is None:
                self.paused_until = max(self.paused_until, now + self._pause_s)
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._changed_at = now
            return
        self._pause_s = FIRST_PAUSE_S
        self._learn(entered, last, now)
        self._changed_at = now

    def _learn(self, entered: float, last: float, now: float) -> None:
        if self._phase is _Phase.FREE:
            begin = max(entered - FIRST_LOOK_S, self._entries[0])
            self.rate = max(self._granted(begin, entered) / max(entered - begin, 1.0), SLOWEST)
            self._explore(entered)
            return
        assert self.rate is not None
        if self._phase is _Phase.SETTLED and entered - last > GAP_S:
            self.rate *= AFTER_LONE_REFUSAL
            self._settled_at = now
            return
        if self._phase is _Phase.PROBING and self.rate < RAISED * self._settled_rate:
            self.rate = self._settled_rate
            self._patience_s = min(2 * self._patience_s, LONGEST_PATIENCE_S)
            self._phase, self._settled_at = _Phase.SETTLED, now
            return
        if self._phase is not _Phase.EXPLORING or entered - last > GAP_S:
            self._explore(entered)
            return
        span_s = entered - self._since
        if span_s <= 0:
            return
        self.rate = max(self._granted(self._since, entered) / span_s, SLOWEST)
        if span_s >= EXPLORE_S:
            self._settle(now)

    def _explore(self, entered: float) -> None:
        self._phase, self._since = _Phase.EXPLORING, entered

    def _settle(self, now: float) -> None:
        """Takes what was surely allowed: between two refusals at most one request less than was let through."""
        times = [at for at in self._refusals if at >= self._since]
        surely = [
            (self._granted(one, other) - 1) / (other - one)
            for one in times
            for other in times
            if other - one >= EXPLORE_S / 2
        ]
        self.rate = max(SETTLED_SHARE * max(surely), SLOWEST)
        self._patience_s = FIRST_PATIENCE_S
        self._settled_rate = self.rate
        self._phase, self._settled_at = _Phase.SETTLED, now

    def _granted(self, begin: float, end: float) -> int:
        """Requests that entered after `begin` and up to `end`, and were not refused, as far as is known."""
        entered = bisect_right(self._entries, end) - bisect_right(self._entries, begin)
        return entered - (bisect_right(self._refusals, end) - bisect_right(self._refusals, begin))

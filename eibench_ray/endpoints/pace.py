"""How fast a pool's requests may follow each other, learnt from what the endpoint lets through. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from enum import Enum

from eibench_ray.endpoints.fit import fit_limit

# What is remembered of requests, in seconds: a little more than the minute by which endpoints count.
MEMORY_S = 75.0
SLOWEST = 1 / 60  # requests per second
# The first refusal says little: the endpoint may have let a burst through, and it may come at once.
FIRST_LOOK_S, SHORTEST_LOOK_S = 3.0, 0.5
FIRST_RATE = 1.0
# Between two refusals an endpoint gives away exactly what it allows. So it is kept at its limit for a while, which
# tells the limit the better the more is let through meanwhile: at 600 a minute, to 1.7% after 6 s.
EXPLORE_S, LONGEST_EXPLORE_S = 6.0, 60.0
EXPLORE_REQUESTS = 30
LOOK_S = 2.0
# Growth per second while requests wait: until the limit is met again, then around it, then to see whether it was raised.
SEEK_GROWTH, EXPLORE_GROWTH, PROBE_GROWTH = 1.5, 1.10, 1.05
# A rate that is near to what was let through is cut by so much only: an endpoint that saves nothing up
# gives away less than it allows while less is asked for.
EXPLORE_CUT = 0.9
NEAR = 1.4
# A little less than what the endpoint was seen to allow; and nothing is sent for a moment, so that it saves up for
# what was seen wrongly.
SETTLED_SHARE, REST_S = 0.99, 0.3
# A refusal without another one near it takes off little, and not for ever.
GAP_S = 8.0
LONE_CUT, MAX_LONE = 0.98, 3
# A probe that comes so far above the settled rate has shown that the limit was raised.
RAISED = 1.5
FIRST_PATIENCE_S, LONGEST_PATIENCE_S = 60.0, 960.0
# Without a word from the endpoint on when to come back, and with nothing let through in between.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0
# An endpoint that refuses again so soon after the pool has settled below its limit does not refuse because of the rate.
# Twice in a row, and for a while nothing is learnt from it, unless it refuses half of what it is asked.
SOON_REQUESTS = 25
MAX_FUTILE = 2
FIRST_TOLERANCE_S, LONGEST_TOLERANCE_S = 20.0, 640.0
TOLERATED, TOLERANCE_REQUESTS = 0.5, 20


class _Phase(Enum):
    FREE = "free"  # no refusal yet
    SEEKING = "seeking"  # the limit is to be met again
    EXPLORING = "exploring"  # kept at its limit, to learn it
    SETTLED = "settled"
    PROBING = "probing"  # whether it bears more again
    TOLERANT = "tolerant"  # refusals have another reason


_GROWTH = {_Phase.SEEKING: SEEK_GROWTH, _Phase.EXPLORING: EXPLORE_GROWTH, _Phase.PROBING: PROBE_GROWTH}


class Pace:
    """The learnt rate of one pool, and the pauses that it asks for.

    Attributes:
        rate: requests per second; None: nothing was learnt, so nothing binds.
        burst: requests that the endpoint lets through at once; None: not known.
        paused_until: nothing may pass before.
    """

    def __init__(self) -> None:
        self.rate: float | None = None
        self.burst: float | None = None
        self.paused_until = float("-inf")
        self._phase = _Phase.FREE
        self._entries: list[float] = []
        self._refusals: list[float] = []  # when they had entered
        self._since = 0.0  # the exploration's first refusal
        self._changed_at = float("-inf")
        self._settled_rate = 0.0
        self._settled_at = 0.0
        self._num_lone = 0
        self._patience_s = FIRST_PATIENCE_S
        self._pause_s = FIRST_PAUSE_S
        self._pressed_at = 0.0
        self._num_futile = 0
        self._rate_before: float | None = None
        self._tolerance_s = FIRST_TOLERANCE_S
        self._tolerant_until = 0.0

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
        waited_s = min(now - self._pressed_at, max(1.0, 2 / self.rate))
        self._pressed_at = now
        if self._phase is _Phase.SETTLED and now > self._settled_at + self._patience_s:
            self._phase = _Phase.PROBING
        # Where less than one request a second passes, growth is by the request.
        self.rate *= _GROWTH.get(self._phase, 1.0) ** (waited_s * min(self.rate, 1.0))

    def refuse(self, entered: float, retry_after_s: float | None, now: float) -> None:
        """The endpoint has refused (429) a request that entered at some time."""
        last = self._refusals[-1] if self._refusals else float("-inf")
        insort(self._refusals, entered)
        if retry_after_s is not None:
            self.paused_until = max(self.paused_until, now + retry_after_s)
        if entered <= self._changed_at:
            return  # it was under way when the last one taught us
        if self._phase is _Phase.TOLERANT and not self._has_enough(entered, now):
            return
        if self._phase is not _Phase.FREE and self._granted(self._changed_at, entered) <= 0:
            if retry_after_s is None:
                self.paused_until = max(self.paused_until, now + self._pause_s)
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        else:
            self._pause_s = FIRST_PAUSE_S
            self._learn(entered, entered - last, now)
        self._changed_at = now

    def _learn(self, entered: float, gap_s: float, now: float) -> None:
        if self.rate is None:
            begin = max(entered - FIRST_LOOK_S, self._entries[0])
            granted = self._granted(begin, entered)
            self.rate = max(granted / max(entered - begin, SHORTEST_LOOK_S), FIRST_RATE)
            self._since, self._phase = entered, _Phase.SEEKING
            return
        is_lone = gap_s > max(GAP_S, 4 / self.rate)
        if self._phase is _Phase.SETTLED:
            is_soon = self._granted(self._settled_at, entered) < SOON_REQUESTS
            self._num_futile = self._num_futile + 1 if is_soon else 0
            if self._num_futile >= MAX_FUTILE:
                self._tolerate(now)
            elif self._num_lone < MAX_LONE:
                self._num_lone += 1
                self._settle(self.rate * LONE_CUT, now)
            else:
                self._since, self._phase = entered, _Phase.EXPLORING
        elif self._phase is _Phase.PROBING and self.rate < RAISED * self._settled_rate:
            self._patience_s = min(2 * self._patience_s, LONGEST_PATIENCE_S)
            self._settle(self._settled_rate, now)
        elif self._phase is _Phase.PROBING or is_lone:
            self._since, self._phase = entered, _Phase.EXPLORING
        elif entered > self._since:
            self._explore(entered, now)

    def _explore(self, entered: float, now: float) -> None:
        """Stays at the limit, and settles once enough is known of it."""
        assert self.rate is not None
        self._phase = _Phase.EXPLORING
        span_s = entered - self._since
        look_s = min(span_s, max(LOOK_S, 10 / self.rate))
        seen = (self._granted(entered - look_s, entered) + 1) / look_s
        self.rate = max(seen, EXPLORE_CUT * self.rate if self.rate < NEAR * seen else 0.0, SLOWEST)
        if span_s >= min(max(EXPLORE_S, EXPLORE_REQUESTS / self.rate), LONGEST_EXPLORE_S):
            self._patience_s, self._num_lone = FIRST_PATIENCE_S, 0
            begin, end = bisect_left(self._entries, self._since), bisect_right(self._entries, entered)
            fit = fit_limit(self._entries[begin:end], self._refusals[bisect_left(self._refusals, self._since) :])
            self.burst = fit.burst
            self._settle(max(SETTLED_SHARE * fit.rate, SLOWEST), now)
            self.paused_until = max(self.paused_until, now + REST_S)

    def _settle(self, rate: float, now: float) -> None:
        self.rate = self._settled_rate = rate
        self._phase, self._settled_at = _Phase.SETTLED, now

    def _tolerate(self, now: float) -> None:
        self._phase, self.rate = _Phase.TOLERANT, self._rate_before
        self._num_futile = 0
        self._tolerant_until = now + self._tolerance_s
        self._tolerance_s = min(2 * self._tolerance_s, LONGEST_TOLERANCE_S)

    def _has_enough(self, entered: float, now: float) -> bool:
        """Whether a refusal teaches again."""
        recent = self._entries[-TOLERANCE_REQUESTS:]
        share = 1 - self._granted(recent[0], entered) / len(recent)
        return now > self._tolerant_until or (len(recent) == TOLERANCE_REQUESTS and share > TOLERATED)

    def _granted(self, begin: float, end: float) -> int:
        """Requests that entered after `begin` and up to `end`, and were not refused, as far as is known."""
        entered = bisect_right(self._entries, end) - bisect_right(self._entries, begin)
        return entered - (bisect_right(self._refusals, end) - bisect_right(self._refusals, begin))

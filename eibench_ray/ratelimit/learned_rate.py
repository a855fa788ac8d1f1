"""The rate at which a pool's requests may follow each other, learnt from what the endpoint refuses. Pure.

    FREE -> SEEKING -> EXPLORING -> SETTLED <-> PROBING
                           ^-----------'

The first refusal begins a search: requests are let through at the rate at which they were let through, and faster and
faster, until they are refused again. Then the endpoint is kept at its limit for some seconds, and the limit that would
have refused the same requests (`fit`) is settled on. From time to time a little more is tried, in case it was raised.

Over 150 lines: the constants with their reasons, and one state machine that would not be clearer in two places.
Measured against it (simulated, five minutes): cutting by a tenth and growing by 1% a second (AIMD) takes 45 lines, uses
1.00 instead of 0.99 of a limit, is refused 20 times instead of 2, gets 0.87 instead of 0.94 of 60 a minute, and 3%
instead of 54% where every twentieth request is refused for another reason than the rate.
"""

from __future__ import annotations

from enum import Enum

from eibench_ray.ratelimit.limit_estimate import fit_limit
from eibench_ray.ratelimit.request_history import RequestHistory

SLOWEST = 1 / 60  # requests per second
# The first refusal says little: the endpoint may have let a burst through, and it may come at once.
FIRST_LOOK_S, SHORTEST_LOOK_S, FIRST_RATE = 3.0, 0.5, 1.0
# Between two refusals an endpoint gives away exactly what it allows, and the limit shows the better the more that is:
# at 600 a minute, to 1% after 6 s.
EXPLORE_S, EXPLORE_REQUESTS, LONGEST_EXPLORE_S = 6.0, 30, 60.0
LOOK_S, LOOK_REQUESTS = 2.0, 10
# A rate that is near to what was let through is cut by no more than this: an endpoint that saves nothing up gives away
# less than it allows when less is asked for.
EXPLORE_CUT, NEAR = 0.9, 1.4
# A little less than what the endpoint was seen to allow; and nothing is sent for a moment, so that it saves up for
# what was seen wrongly.
SETTLED_SHARE, REST_S = 0.99, 0.3
# The first refusals at a settled rate take off little each.
LONE_CUT, MAX_LONE = 0.98, 3
# A probe that comes so far above the settled rate has shown that the limit was raised.
RAISED = 1.5
FIRST_HOLD_S, LONGEST_HOLD_S = 60.0, 960.0
# Where nothing is let through between refusals, and the endpoint does not say when to come back.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0
# An endpoint that refuses again so soon after the pool has settled below its limit does not refuse because of the rate.
# Twice in a row, and for a while nothing is learnt from it, unless it refuses half of what it is asked.
SOON_REQUESTS, MAX_FUTILE = 25, 2
FIRST_TOLERANCE_S, LONGEST_TOLERANCE_S = 20.0, 640.0
TOLERATED, TOLERANCE_REQUESTS = 0.5, 20


class _Phase(Enum):
    FREE = "free"  # no refusal yet
    SEEKING = "seeking"  # the limit is to be met again
    EXPLORING = "exploring"  # kept at its limit, to learn it
    SETTLED = "settled"
    PROBING = "probing"  # whether it bears more again
    TOLERANT = "tolerant"  # refusals have another reason


# Per second, while requests have to wait for the rate.
_GROWTH = {_Phase.SEEKING: 1.5, _Phase.EXPLORING: 1.1, _Phase.PROBING: 1.05, _Phase.TOLERANT: 1.1}


class LearnedRate:
    """The learnt rate of one pool, and the pauses that it asks for."""

    def __init__(self) -> None:
        self.rate: float | None = None  # requests per second; None: nothing was learnt, so nothing binds
        self.paused_until = float("-inf")  # nothing may pass before
        self._phase = _Phase.FREE
        self._history = RequestHistory()
        # The exploration: when it began, and when the last one entered of those whose refusal began it.
        self._explored_at = self._since = float("-inf")
        self._changed_at = float("-inf")
        self._pressed_at = 0.0
        self._settled_rate = 0.0
        self._settled_at = 0.0
        self._hold_s = FIRST_HOLD_S
        self._num_lone = 0
        self._pause_s = FIRST_PAUSE_S
        self._num_futile = 0
        self._rate_before: float | None = None  # the explorations that are futile
        self._tolerance_s = FIRST_TOLERANCE_S
        self._tolerant_until = 0.0

    def enter(self, now: float) -> None:
        """A request is let through."""
        self._history.enter(now)

    def press(self, now: float) -> None:
        """A request has to wait for the rate: it is what binds, so that more might pass."""
        if self.rate is None:
            return
        waited_s = min(now - self._pressed_at, max(1.0, 2 / self.rate))
        self._pressed_at = now
        # A pause that has grown: the last refusals came with nothing let through in between.
        if self._pause_s > FIRST_PAUSE_S and self._history.granted(self._changed_at, now) <= 0:
            return
        if self._phase is _Phase.SETTLED and now > self._settled_at + self._hold_s:
            self._phase = _Phase.PROBING
        # Where less than one request a second passes, growth is by the request.
        self.rate *= _GROWTH.get(self._phase, 1.0) ** (waited_s * min(self.rate, 1.0))

    def refuse(self, entered: float, retry_after_s: float | None, now: float) -> None:
        """The endpoint has refused (429) a request that entered at some time."""
        if retry_after_s is not None:
            self.paused_until = max(self.paused_until, now + retry_after_s)
        if not self._history.remembers(entered):
            return
        self._history.refuse(entered)
        if entered <= self._changed_at:  # it was under way when the last one taught us
            if self._changed_at == self._explored_at:
                self._since = max(self._since, entered)
            return
        if self._phase is _Phase.TOLERANT and self._is_tolerable(entered, now):
            return
        if self._phase is not _Phase.FREE and self._history.granted(self._changed_at, entered) <= 0:
            if retry_after_s is None:
                self.paused_until = max(self.paused_until, now + self._pause_s)
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        else:
            self._learn(entered, now)
            self._pause_s = FIRST_PAUSE_S
        self._changed_at = now

    def _learn(self, entered: float, now: float) -> None:
        if self.rate is None:
            self._seek(entered)
            return
        if self._phase is _Phase.SETTLED:
            self._doubt(entered, now)
        elif self._phase is _Phase.PROBING and self.rate < RAISED * self._settled_rate:
            self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S)
            self._settle(self._settled_rate, now)
        elif self._phase is not _Phase.EXPLORING:
            self._begin(entered, now)
        elif entered > self._since:
            self._explore(entered, now)

    def _seek(self, entered: float) -> None:
        """Begins with the rate of the last seconds, of which a burst may be a part."""
        begin = entered - FIRST_LOOK_S
        looked_s = max(entered - self._history.entered(begin, entered)[0], SHORTEST_LOOK_S)
        self.rate = max(self._history.granted(begin, entered) / looked_s, FIRST_RATE)
        self._phase = _Phase.SEEKING

    def _begin(self, entered: float, now: float) -> None:
        self._since, self._explored_at, self._phase = entered, now, _Phase.EXPLORING

    def _explore(self, entered: float, now: float) -> None:
        """Stays at the limit, and settles once enough is known of it."""
        assert self.rate is not None
        span_s = entered - self._since
        look_s = min(span_s, max(LOOK_S, LOOK_REQUESTS / self.rate))
        seen = (self._history.granted(entered - look_s, entered) + 1) / look_s
        self.rate = max(seen, EXPLORE_CUT * self.rate if self.rate < NEAR * seen else 0.0, SLOWEST)
        if span_s >= min(max(EXPLORE_S, EXPLORE_REQUESTS / self.rate), LONGEST_EXPLORE_S):
            allowed = fit_limit(
                [self._since, *self._history.entered(self._since, entered)],
                [self._since, *self._history.refused(self._since, entered)],
            )
            self._hold_s, self._num_lone = FIRST_HOLD_S, 0
            self._settle(max(SETTLED_SHARE * allowed, SLOWEST), now)
            self.paused_until = max(self.paused_until, now + REST_S)

    def _settle(self, rate: float, now: float) -> None:
        self.rate = self._settled_rate = rate
        self._phase, self._settled_at = _Phase.SETTLED, now

    def _doubt(self, entered: float, now: float) -> None:
        """A refusal at a settled rate: it was a little too high, or the limit was lowered, or is not the reason."""
        assert self.rate is not None
        if self._num_lone == 0:
            is_soon = self._history.granted(self._settled_at, entered) < SOON_REQUESTS
            self._num_futile = self._num_futile + 1 if is_soon else 0
        if self._num_futile >= MAX_FUTILE:
            self._num_futile, self._phase, self.rate = 0, _Phase.TOLERANT, self._rate_before
            self._tolerant_until = now + self._tolerance_s
            self._tolerance_s = min(2 * self._tolerance_s, LONGEST_TOLERANCE_S)
        elif self._num_lone < MAX_LONE:
            self._num_lone += 1
            self._settle(self.rate * LONE_CUT, now)
        else:
            if self._num_futile == 0:
                self._rate_before = self.rate
            self._begin(entered, now)

    def _is_tolerable(self, entered: float, now: float) -> bool:
        """Whether nothing is to be learnt from a refusal."""
        recent = self._history.entered(float("-inf"), entered)[-TOLERANCE_REQUESTS:]
        share = len(self._history.refused(recent[0], entered)) / len(recent)
        return now < self._tolerant_until and (len(recent) < TOLERANCE_REQUESTS or share < TOLERATED)

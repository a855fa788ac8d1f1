"""A pool of engines that share limits: those that were told, those that were learnt, and buckets for both. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from eibench_ray.errors import PlanError
from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.learned_rate import LearnedRate
from eibench_ray.ratelimit.rate_limiter import Reservation, Spend
from eibench_ray.ratelimit.token_bucket import TokenBucket, rate_under


class LimitPool:
    """Configured limits hold before those that the endpoint's headers tell. What 429s teach may be lower than both.

    What they teach is requests per second, whatever it was that the endpoint had too much of.
    """

    def __init__(self, limits: RateLimits, now: float) -> None:
        self._limits = limits
        self._requests_per_min = limits.requests_per_min
        self._tokens_per_min = limits.tokens_per_min
        self._requests = TokenBucket()
        self._tokens = TokenBucket()
        self._pace = LearnedRate()
        self._set_rates(now)

    def is_paused(self, now: float) -> bool:
        """Whether the endpoint has asked to be left alone."""
        return now < self._pace.paused_until

    def wait_s(self, now: float) -> float:
        """Seconds until the next request may pass; 0.0: now."""
        if self.is_paused(now):
            return self._pace.paused_until - now
        if self._requests.wait_s(now) > 0:
            self._pace.press(now)
            self._set_rates(now)
        return max(self._requests.wait_s(now), self._tokens.wait_s(now))

    def enter(self, reservation: Reservation, now: float) -> None:
        """A request passes."""
        self._requests.take(1.0)
        self._tokens.take(reservation.tokens)
        self._pace.enter(now)

    def leave(self, reservation: Reservation, entered: float, spend: Spend, now: float) -> None:
        """A request that entered at some time has ended."""
        # Some servers say 0 or -1 where they have no limit.
        if self._limits.requests_per_min is None and (spend.allowed_per_min or 0.0) > 0:
            self._requests_per_min = spend.allowed_per_min
        if self._limits.tokens_per_min is None and (spend.allowed_tokens_per_min or 0.0) > 0:
            self._tokens_per_min = spend.allowed_tokens_per_min
        if spend.was_limited:
            self._pace.refuse(entered, spend.retry_after_s, now)
        self._set_rates(now)
        if spend.was_limited:
            self._requests.take(-1.0)
            self._requests.calm(now)
            if spend.retry_after_s is None:
                self._requests.hold(self._pace.paused_until)
        # Where there was no answer, and no refusal, the endpoint may have counted what was reserved.
        if spend.was_limited or spend.tokens:
            self._tokens.take(spend.tokens - reservation.tokens)

    def _set_rates(self, now: float) -> None:
        told = [] if self._requests_per_min is None else [rate_under(self._requests_per_min)]
        learnt = [] if self._pace.rate is None else [self._pace.rate]
        self._requests.allow(min(told + learnt, default=None), now)
        if self._tokens_per_min is not None:
            self._tokens.allow(rate_under(self._tokens_per_min), now)


def pools_of(engines: Iterable[tuple[str, RateLimits | None]]) -> dict[str, RateLimits]:
    """The limits of each pool.

    Raises:
        PlanError: two engines share a pool and disagree on its limits.
    """
    pools: dict[str, RateLimits] = {}
    for name, limits in engines:
        if limits is None:
            continue
        known = pools.setdefault(limits.pool, limits)
        for key in ("requests_per_min", "tokens_per_min"):
            one, other = getattr(known, key), getattr(limits, key)
            if one != other:
                raise PlanError(
                    f"the pool {limits.pool!r} has two values of engine.limits.{key}, {_number(one)} and "
                    f"{_number(other)}: engines of one pool share its limits, so give them the same, or another "
                    f"engine.limits.pool to {name!r}"
                )
    return pools


def _number(limit: float | None) -> str:
    return "null" if limit is None else f"{limit:g}"

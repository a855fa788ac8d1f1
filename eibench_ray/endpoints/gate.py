"""The turnstile's decisions: who may pass now, who must wait for how long, for whom the budget is spent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eibench_ray.config.schema import EndpointLimits
from eibench_ray.endpoints.bucket import Bucket, rate_under
from eibench_ray.endpoints.pace import Pace
from eibench_ray.endpoints.purse import Fit, Purse
from eibench_ray.endpoints.turnstile import Pass, Passage, Toll

# Who waits asks again at least so often, since what it waits for may change.
LONGEST_WAIT_S = 5.0
SHORTEST_WAIT_S = 0.001
BUDGET_WAIT_S = 0.25


@dataclass(frozen=True, slots=True)
class _Open:
    """A request that was let through and has not left."""

    toll: Toll
    entered: float


class _Pool:
    """What the engines of one pool share."""

    def __init__(self, limits: EndpointLimits, now: float) -> None:
        self.requests = Bucket(1.0)
        self.tokens = Bucket(1.0)
        self.pace = Pace()
        self._limits = limits
        self._told_per_min = limits.requests_per_min
        self._told_tokens_per_min = limits.tokens_per_min
        self._allow(now)

    def wait_s(self, now: float) -> float:
        """Seconds until the next request may pass; 0.0: now."""
        if now < self.pace.paused_until:
            return self.pace.paused_until - now
        wait_s = self.requests.wait_s(now)
        if wait_s > 0:
            self.pace.press(now)
            self._allow(now)
            wait_s = self.requests.wait_s(now)
        return max(wait_s, self.tokens.wait_s(now))

    def take(self, toll: Toll, now: float) -> None:
        self.requests.take(1.0)
        self.tokens.take(toll.tokens)
        self.pace.enter(now)

    def end(self, was: _Open, passage: Passage, now: float) -> None:
        if self._limits.requests_per_min is None:
            self._told_per_min = passage.allowed_per_min or self._told_per_min
        if self._limits.tokens_per_min is None:
            self._told_tokens_per_min = passage.allowed_tokens_per_min or self._told_tokens_per_min
        if passage.was_limited:
            self.pace.refuse(was.entered, passage.retry_after_s, now)
        self._allow(now)
        if passage.was_limited:
            self.requests.empty(now)
        if passage.was_limited or passage.tokens:
            self.tokens.take(passage.tokens - was.toll.tokens)

    def _allow(self, now: float) -> None:
        """Sets the buckets to the lower of what was told and what was learnt."""
        told = None if self._told_per_min is None else rate_under(self._told_per_min, 1.0)
        learnt = self.pace.rate
        self.requests.allow(min(told, learnt) if told and learnt else told or learnt, now)
        if self._told_tokens_per_min is not None:
            self.tokens.allow(rate_under(self._told_tokens_per_min, 1.0), now)


class Gate:
    """All pools and the one budget. `now` is in seconds, of a clock that never goes back."""

    def __init__(
        self,
        limits: Mapping[str, EndpointLimits],
        budget_usd: float | None = None,
        spent_usd: float = 0.0,
        first_number: int = 0,
    ) -> None:
        """A gate through which nobody has passed yet.

        Args:
            limits: by pool; what is not named has no configured limits.
            budget_usd: None: no limit.
            spent_usd: what was spent of it before.
            first_number: of the requests that will be let through.
        """
        self.purse = Purse(budget_usd, spent_usd)
        self._limits = limits
        self._pools: dict[str, _Pool] = {}
        self._open: dict[int, _Open] = {}
        self._next_number = first_number

    def enter(self, toll: Toll, now: float) -> Pass:
        """Whether a request may be sent now."""
        fit = self.purse.fits(toll.cost_usd)
        if fit is Fit.NEVER:
            return Pass(None, is_spent=True)
        if fit is Fit.LATER:
            return Pass(None, BUDGET_WAIT_S)
        pool = self._pool(toll.pool, now)
        wait_s = pool.wait_s(now)
        if wait_s > 0:
            return Pass(None, min(max(wait_s, SHORTEST_WAIT_S), LONGEST_WAIT_S))
        pool.take(toll, now)
        self.purse.reserve(toll.cost_usd)
        number, self._next_number = self._next_number, self._next_number + 1
        self._open[number] = _Open(toll, now)
        return Pass(number)

    def leave(self, number: int, passage: Passage, now: float) -> None:
        """A request that was let through has ended. What an unknown one cost is spent all the same."""
        was = self._open.pop(number, None)
        self.purse.settle(was.toll.cost_usd if was else 0.0, passage.cost_usd)
        if was is not None:
            self._pool(was.toll.pool, now).end(was, passage, now)

    def _pool(self, name: str, now: float) -> _Pool:
        if name not in self._pools:
            self._pools[name] = _Pool(self._limits.get(name, EndpointLimits()), now)
        return self._pools[name]

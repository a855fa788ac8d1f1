"""The rate limiter's decisions: which request may be sent now, which waits for how long, which the budget ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.budget import BudgetAccount, BudgetAnswer
from eibench_ray.ratelimit.limit_pool import LimitPool
from eibench_ray.ratelimit.rate_limiter import Grant, Reservation, Spend

# Who waits asks again at least so often, since what it waits for may change.
LONGEST_WAIT_S = 5.0
SHORTEST_WAIT_S = 0.001
BUDGET_WAIT_S = 0.25


@dataclass(frozen=True, slots=True)
class _Visit:
    """A request that was let through."""

    reservation: Reservation
    entered: float


class Admission:
    """All pools and the one budget. `now` is in seconds, of a clock that never goes back."""

    def __init__(
        self,
        limits: Mapping[str, RateLimits],
        budget_usd: float | None = None,
        spent_usd: float = 0.0,
        first_number: int = 0,
    ) -> None:
        """An admission through which nobody has passed yet.

        Args:
            limits: by pool; what is not named has no configured limits.
            budget_usd: None: no limit.
            spent_usd: what was spent of it before.
            first_number: of the requests that will be let through.
        """
        self.account = BudgetAccount(budget_usd, spent_usd)
        self._limits = limits
        self._pools: dict[str, LimitPool] = {}
        self._inside: dict[int, _Visit] = {}
        self._overdue: dict[int, _Visit] = {}
        self._first_number = self._next_number = first_number

    def enter(self, reservation: Reservation, now: float) -> Grant:
        """Whether a request may be sent now."""
        if (fit := self.account.fits(reservation.cost_usd)) is BudgetAnswer.LATER:
            self._expire(now)
            fit = self.account.fits(reservation.cost_usd)
        if fit is BudgetAnswer.NEVER:
            return Grant(None, is_spent=True)
        if fit is BudgetAnswer.LATER:
            return Grant(None, BUDGET_WAIT_S, reason="budget_usd, which requests in flight have reserved")
        pool = self._pool(reservation.pool, now)
        wait_s = pool.wait_s(now)
        if wait_s > 0:
            what = "the pause that was asked for by" if pool.is_paused(now) else "the rate limit of"
            return Grant(None, min(max(wait_s, SHORTEST_WAIT_S), LONGEST_WAIT_S), reason=f"{what} {reservation.pool}")
        pool.enter(reservation, now)
        self.account.reserve(reservation.cost_usd)
        number, self._next_number = self._next_number, self._next_number + 1
        self._inside[number] = _Visit(reservation, now)
        return Grant(number)

    def leave(self, number: int, spend: Spend, now: float) -> None:
        """A request has ended.

        One that it has not let through was let through by the one before it, which was lost: what it cost is
        spent. To leave twice is to leave once.
        """
        if visit := self._inside.pop(number, None):
            self.account.settle(visit.reservation.cost_usd, spend.cost_usd)
            self._pool(visit.reservation.pool, now).leave(visit.reservation, visit.entered, spend, now)
        elif visit := self._overdue.pop(number, None):
            self.account.spent_usd += spend.cost_usd - visit.reservation.cost_usd
        elif not self._first_number <= number < self._next_number:
            self.account.spent_usd += spend.cost_usd

    def _expire(self, now: float) -> None:
        """Counts as spent what was reserved by those who do not come back."""
        late = [number for number, visit in self._inside.items() if visit.entered < now - visit.reservation.lifetime_s]
        for number in late:
            visit = self._overdue[number] = self._inside.pop(number)
            self.account.settle(visit.reservation.cost_usd, visit.reservation.cost_usd)

    def _pool(self, name: str, now: float) -> LimitPool:
        if name not in self._pools:
            self._pools[name] = LimitPool(self._limits.get(name, RateLimits(name)), now)
        return self._pools[name]


class LocalRateLimiter:
    """Lets the requests of this process through."""

    def __init__(
        self,
        limits: Mapping[str, RateLimits] | None = None,
        budget_usd: float | None = None,
        spent_usd: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        first_number: int = 0,
    ) -> None:
        """Begins as `Admission` does; `clock` counts seconds and never goes back."""
        self.admission = Admission(limits or {}, budget_usd, spent_usd, first_number)
        self._clock = clock

    async def enter(self, reservation: Reservation) -> Grant:
        """Whether a request may be sent now."""
        return self.admission.enter(reservation, self._clock())

    async def leave(self, number: int, spend: Spend) -> None:
        """A request that was let through has ended."""
        self.admission.leave(number, spend, self._clock())

"""A turnstile within one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.admission import Admission
from eibench_ray.ratelimit.rate_limiter import Grant, Reservation, Spend


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
        """A turnstile through which nobody has passed yet.

        Args:
            limits: by pool; what is not named has no configured limits.
            budget_usd: None: no limit.
            spent_usd: what was spent of it before.
            clock: seconds; never goes back.
            first_number: of the requests that will be let through.
        """
        self.gate = Admission(limits or {}, budget_usd, spent_usd, first_number)
        self._clock = clock

    async def enter(self, toll: Reservation) -> Grant:
        """Whether a request may be sent now."""
        return self.gate.enter(toll, self._clock())

    async def leave(self, number: int, passage: Spend) -> None:
        """A request that was let through has ended."""
        self.gate.leave(number, passage, self._clock())

"""The rate limiter of a run: one Ray actor on the driver's node, and how replicas ask it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.ratelimit.rate_limiter import Grant, Reservation, Spend

log = logging.getLogger(__name__)

# A killed actor answered again within 3 s; a store with a million rows takes some seconds to add up.
TIMEOUT_S = 120.0


class _Booth(LocalRateLimiter):
    """The rate limiter inside its actor. After a restart it reads anew what was spent, and learns the limits anew."""

    def __init__(
        self,
        limits: Mapping[str, RateLimits],
        budget_usd: float | None,
        spent: Callable[[], float],
        working_folder: str,
    ) -> None:
        # On the driver's node: relative paths mean what they mean where the command was called.
        os.chdir(working_folder)
        # No number of an earlier life comes again, so that who got it is known to be none of this one's.
        super().__init__(limits, budget_usd, spent(), first_number=secrets.randbits(62))


# Made once: Ray sends a class again for every `ray.remote` of it.
_Actor = ray.remote(_Booth)


class RayRateLimiter:
    """The rate limiter of a run, for the driver that opens it and the replicas that it is handed to."""

    def __init__(self, limits: Mapping[str, RateLimits], budget_usd: float | None, spent: Callable[[], float]) -> None:
        """Opens it on this node.

        Args:
            limits: by pool; what is not named has no configured limits.
            budget_usd: None: no limit.
            spent: reads from the store what was spent of it; called in another process, now and after each restart.
        """
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_concurrency": 1000}
        actor = _Actor.options(scheduling_strategy=here, **options)
        self._actor: Any = actor.remote(limits, budget_usd, spent, str(Path.cwd()))

    async def enter(self, reservation: Reservation) -> Grant:
        """Whether a request may be sent now.

        Raises:
            EngineError: the rate limiter does not come back.
        """
        answer: Grant = await self._ask("enter", reservation)
        return answer

    async def leave(self, number: int, spend: Spend) -> None:
        """A request that was let through has ended.

        Raises:
            EngineError: the rate limiter does not come back.
        """
        await self._ask("leave", number, spend)

    async def _ask(self, method: str, *arguments: object) -> Any:
        """The answer; while the actor restarts, it is asked again."""
        asking = AsyncRetrying(retry=retry_if_exception_type(RayActorError), wait=wait_exponential(0.1, max=2.0))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await asking(self._ask_once, method, *arguments)
        except TimeoutError:
            reason = f"it has not answered within {TIMEOUT_S:g} s"
        except RayError as error:
            reason = " ".join(str(error).split())[:400]
        # No engine died: no row is guilty of it.
        raise EngineError(f"the process that keeps the limits and the budget of the run is lost: {reason}")

    async def _ask_once(self, method: str, *arguments: object) -> Any:
        return await getattr(self._actor, method).remote(*arguments)

"""The rate limiter of a run on a real Ray: one for all processes, and it may die."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest
import ray
from command_lines import children_named

from eibench_ray.driver import ray_limiter as module
from eibench_ray.driver.ray_limiter import RayRateLimiter
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.rate_limiter import Grant, Reservation, Spend

pytestmark = pytest.mark.usefixtures("ray_here")

RESERVATION = Reservation("pool", 10, 1.0)


def booth() -> psutil.Process:
    """The rate limiter's process."""
    (found,) = children_named(psutil.Process(), "ray::_Booth")
    return found


@ray.remote(num_cpus=0)
def visit(limiter: RayRateLimiter, cost_usd: float) -> Grant:
    """Passes, and pays, in a process of its own; otherwise what the rate limiter says."""

    async def pass_and_pay() -> Grant:
        answer = await limiter.enter(Reservation("pool", 10, cost_usd))
        if answer.number is not None:
            await limiter.leave(answer.number, Spend(10, cost_usd))
        return answer

    return asyncio.run(pass_and_pay())


def test_all_processes_share_limits_and_budget_and_a_death_forgets_no_money(tmp_path: Path) -> None:
    committed = tmp_path / "spent"
    committed.write_text("5.0")
    limiter = RayRateLimiter(
        {"slow": RateLimits("slow", requests_per_min=1.0)}, 10.0, lambda: float(committed.read_text())
    )

    async def enter(reservation: Reservation) -> Grant:
        return await limiter.enter(reservation)

    assert asyncio.run(enter(Reservation("slow", 1, 0.0))).number is not None
    assert asyncio.run(enter(Reservation("slow", 1, 0.0))).wait_s > 0
    assert ray.get(visit.remote(limiter, 4.0)).number is not None
    assert asyncio.run(enter(Reservation("pool", 10, 1.5))).is_spent

    committed.write_text("9.0")
    under_way = asyncio.run(enter(RESERVATION))
    os.kill(booth().pid, signal.SIGKILL)

    async def go_on() -> list[Grant]:
        before = await limiter.enter(Reservation("pool", 10, 1.5))
        # It was let through before the death, and is paid for after it.
        assert under_way.number is not None
        await limiter.leave(under_way.number, Spend(10, 0.75))
        return [before, *[await limiter.enter(Reservation("pool", 10, cost)) for cost in (0.5, 0.2)]]

    before, too_much, enough = asyncio.run(go_on())
    assert before.is_spent
    assert too_much.is_spent
    assert enough.number is not None


def test_a_rate_limiter_that_does_not_come_back_ends_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = RayRateLimiter({}, None, lambda: 0.0)

    async def enter() -> Grant:
        return await limiter.enter(RESERVATION)

    assert asyncio.run(enter()).number is not None
    monkeypatch.setattr(module, "TIMEOUT_S", 2.0)
    ray.kill(limiter._actor, no_restart=True)
    with pytest.raises(EngineError, match="the process that keeps the limits and the budget of the run is lost: "):
        asyncio.run(enter())

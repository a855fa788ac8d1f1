"""The turnstile of a run on a real Ray: one for all processes, and it may die."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver import ray_limiter as module
from eibench_ray.driver.ray_limiter import RayRateLimiter
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.rate_limiter import Grant, Reservation, Spend

TOLL = Reservation("pool", 10, 1.0)


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    with ray_session(ClusterConfig(name="local", num_cpus=1, num_gpus=0)):
        yield


def booth() -> psutil.Process:
    """The turnstile's process."""
    (found,) = [
        child for child in psutil.Process().children(recursive=True) if "ray::_Booth" in " ".join(child.cmdline())
    ]
    return found


@ray.remote(num_cpus=0)
def visit(turnstile: RayRateLimiter, cost_usd: float) -> Grant:
    """Passes, and pays, in a process of its own; otherwise what the turnstile says."""

    async def pass_and_pay() -> Grant:
        answer = await turnstile.enter(Reservation("pool", 10, cost_usd))
        if answer.number is not None:
            await turnstile.leave(answer.number, Spend(10, cost_usd))
        return answer

    return asyncio.run(pass_and_pay())


def test_all_processes_share_limits_and_budget_and_a_death_forgets_no_money(tmp_path: Path) -> None:
    committed = tmp_path / "spent"
    committed.write_text("5.0")
    turnstile = RayRateLimiter(
        {"slow": RateLimits("slow", requests_per_min=1.0)}, 10.0, lambda: float(committed.read_text())
    )

    async def enter(toll: Reservation) -> Grant:
        return await turnstile.enter(toll)

    assert asyncio.run(enter(Reservation("slow", 1, 0.0))).number is not None
    assert asyncio.run(enter(Reservation("slow", 1, 0.0))).wait_s > 0
    assert ray.get(visit.remote(turnstile, 4.0)).number is not None
    assert asyncio.run(enter(Reservation("pool", 10, 1.5))).is_spent

    committed.write_text("9.0")
    under_way = asyncio.run(enter(TOLL))
    os.kill(booth().pid, signal.SIGKILL)

    async def go_on() -> list[Grant]:
        before = await turnstile.enter(Reservation("pool", 10, 1.5))
        # It was let through before the death, and is paid for after it.
        assert under_way.number is not None
        await turnstile.leave(under_way.number, Spend(10, 0.75))
        return [before, *[await turnstile.enter(Reservation("pool", 10, cost)) for cost in (0.5, 0.2)]]

    before, too_much, enough = asyncio.run(go_on())
    assert before.is_spent
    assert too_much.is_spent
    assert enough.number is not None


def test_a_turnstile_that_does_not_come_back_ends_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    turnstile = RayRateLimiter({}, None, lambda: 0.0)

    async def enter() -> Grant:
        return await turnstile.enter(TOLL)

    assert asyncio.run(enter()).number is not None
    monkeypatch.setattr(module, "TIMEOUT_S", 2.0)
    ray.kill(turnstile._actor, no_restart=True)
    with pytest.raises(EngineError, match="the process that keeps the limits and the budget of the run is lost: "):
        asyncio.run(enter())

"""Engines that share a pool agree on its limits."""

from __future__ import annotations

import pytest

from eibench_ray.errors import PlanError
from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.limit_pool import pools_of


def limits(engine: str, pool: str | None = None, **rates: float) -> tuple[str, RateLimits]:
    return engine, RateLimits(pool or engine, **rates)


def test_engines_of_one_pool_share_its_limits() -> None:
    found = pools_of([limits("a", requests_per_min=6.0), limits("b"), limits("c", "account"), limits("d", "account")])
    assert list(found) == ["a", "b", "account"]
    assert found["a"].requests_per_min == 6.0


def test_two_limits_of_one_pool() -> None:
    with pytest.raises(PlanError) as caught:
        pools_of([limits("a", "account", tokens_per_min=1e6), limits("b", "account")])
    assert str(caught.value) == (
        "the pool 'account' has two values of engine.limits.tokens_per_min, 1e+06 and null: engines of one pool share "
        "its limits, so give them the same, or another engine.limits.pool to 'b'"
    )


def test_an_engine_without_limits_has_no_pool() -> None:
    assert pools_of([("a", None)]) == {}

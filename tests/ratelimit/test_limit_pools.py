"""Engines that share a pool agree on its limits."""

from __future__ import annotations

from typing import Any

import pytest

from eibench_ray.config.endpoints import EndpointLimits, OpenaiSection
from eibench_ray.errors import PlanError
from eibench_ray.ratelimit.limit_pools import pools_of


def engine(model: str = "small", mode: str = "online", **limits: Any) -> OpenaiSection:
    return OpenaiSection.model_validate(
        {
            "kind": "openai",
            "endpoint": "local",
            "base_url": "http://127.0.0.1:1/v1",
            "model": model,
            "mode": mode,
            "limits": limits,
        }
    )


def test_a_pool_is_a_model_unless_it_is_named() -> None:
    found = pools_of(
        [engine("a", requests_per_min=6.0), engine("b"), engine("c", pool="account"), engine("d", pool="account")]
    )
    assert list(found) == ["local/a", "local/b", "account"]
    assert found["local/a"] == EndpointLimits(requests_per_min=6.0)


def test_a_concurrency_is_an_engine_s_own() -> None:
    assert len(pools_of([engine(max_concurrency=4), engine(max_concurrency=9)])) == 1


def test_two_limits_of_one_pool() -> None:
    engines = [engine("a", pool="account", tokens_per_min=1e6), engine("b", pool="account")]
    with pytest.raises(PlanError) as caught:
        pools_of(engines)
    assert str(caught.value) == (
        "the pool 'account' has two values of engine.limits.tokens_per_min, 1e+06 and null: engines of one pool share "
        "its limits, so give them the same, or another engine.limits.pool to 'b'"
    )


def test_batches_have_no_limits_of_this_kind() -> None:
    assert pools_of([engine("a", mode="batch", requests_per_min=1.0)]) == {}

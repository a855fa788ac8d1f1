"""Costs of requests."""

from __future__ import annotations

from typing import Any

import pytest

from eibench_ray.rows.prices import Price, cost_usd, format_usd

# Dollars per million tokens: a prompt token costs 2e-6, a cached one 0.5e-6, one of a reply 8e-6.
PRICE: dict[str, Any] = {"input": 2.0, "output": 8.0}
CACHING: dict[str, Any] = PRICE | {"cached_input": 0.5}


@pytest.mark.parametrize(
    ("price", "prompt", "cached", "completion", "is_batch", "expected"),
    [
        (PRICE, 1_000_000, 0, 0, False, 2.0),
        (PRICE, 0, 0, 1_000_000, False, 8.0),
        (PRICE, 1000, 0, 100, False, 0.0028),
        (PRICE, 1000, 400, 100, False, 0.0028),  # without a price of its own, what is cached costs as much
        (CACHING, 1000, 400, 100, False, 0.0022),
        (CACHING, 1000, 1000, 0, False, 0.0005),
        (CACHING, 1000, 4000, 0, False, 0.0005),  # a count that cannot be gives nothing back
        (PRICE | {"cached_input": 0.0}, 1000, 1000, 0, False, 0.0),
        (PRICE, 1000, 0, 100, True, 0.0014),
        (PRICE | {"batch_factor": 0.25}, 1000, 0, 100, True, 0.0007),
        (PRICE | {"batch_factor": 0.25}, 1000, 0, 100, False, 0.0028),
        ({"input": 0.0, "output": 0.0}, 1000, 0, 100, False, 0.0),
        (PRICE, 0, 0, 0, False, 0.0),
    ],
)
def test_prices_are_per_million_tokens(
    price: dict[str, Any], prompt: int, cached: int, completion: int, is_batch: bool, expected: float
) -> None:
    assert cost_usd(Price(**price), prompt, cached, completion, is_batch=is_batch) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "0.00"),
        (1234.567, "1,234.57"),
        (2.0, "2.00"),
        (0.5, "0.50"),
        (0.05, "0.050"),
        (0.0123, "0.012"),
        (0.0000421, "0.000042"),
    ],
)
def test_small_amounts_keep_two_digits_that_count(amount: float, text: str) -> None:
    assert format_usd(amount) == text

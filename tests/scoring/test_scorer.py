"""How metrics write their values."""

from __future__ import annotations

import pytest

from eibench_ray.scoring.scorer import Metric

SHARE = Metric("accuracy")
COSINE = Metric("coherence", format=".3f", low=-1.0)
LENGTH = Metric("length", unit="words", direction="lower", format=".0f", high=None)


@pytest.mark.parametrize(
    ("metric", "heading", "value", "difference", "worst"),
    [
        (SHARE, "accuracy %", "12.3", "+12.3", 0.0),
        (COSINE, "coherence", "0.123", "+0.123", -1.0),
        (LENGTH, "length words", "0", "+0", None),
    ],
)
def test_a_value_is_written_in_its_metrics_format(
    metric: Metric, heading: str, value: str, difference: str, worst: float | None
) -> None:
    assert metric.heading == heading
    assert metric.show(0.123) == value
    assert metric.show(0.123, "+") == difference
    assert metric.worst == worst


def test_more_or_fewer_digits_than_the_format_has() -> None:
    assert SHARE.show(0.12345, more_digits=1) == "12.35"
    assert SHARE.show(0.12345, more_digits=-1) == "12"
    assert COSINE.show(-0.5, "+", more_digits=-2) == "-0.5"
    assert LENGTH.show(2.5, more_digits=-1) == "2"


def test_where_lower_is_better_the_greatest_value_is_the_worst() -> None:
    assert Metric("error", direction="lower").worst == 1.0

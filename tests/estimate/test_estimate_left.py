"""The time that a run has left: priors at first, then what is measured."""

from __future__ import annotations

import math

import pytest

from eibench_ray.estimate.time_left import estimate_left
from eibench_ray.estimate.time_range import EXPECTED, HIGH, LOW, Range


def test_before_anything_is_measured_the_priors_may_be_off_as_in_a_plan() -> None:
    left = estimate_left(100.0, 1.0, 50)
    assert left == Range(100 / LOW.speed, 100 * EXPECTED.loss, 100 * HIGH.loss / HIGH.speed)


def test_the_error_narrows_as_speeds_are_measured() -> None:
    widths = []
    for prior_share in (1.0, 0.5, 0.0):
        left = estimate_left(100.0, prior_share, 50)
        assert left is not None
        assert left.low <= left.expected <= left.high
        widths.append(left.high / left.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(HIGH.loss / LOW.loss)


@pytest.mark.parametrize("horizon_s", [math.inf, 0.0])
def test_a_load_that_is_overdue_leaves_nothing_to_go_by_but_the_rate_of_the_rows(horizon_s: float) -> None:
    assert estimate_left(horizon_s, 1.0, 50) is None
    assert estimate_left(horizon_s, 0.3, 60, 1.0, 1.0) == Range(60 / HIGH.loss, 60.0, 60 * HIGH.loss)


def test_the_rate_of_the_rows_counts_as_far_as_speeds_are_not_measured() -> None:
    expected = {}
    for prior_share in (1.0, 0.5, 0.0):
        left = estimate_left(1000.0, prior_share, 10, 1.0, 1.0)
        assert left is not None
        assert left.low <= left.expected <= left.high
        assert left.low <= 10.0 <= left.high, "the range is of both"
        expected[prior_share] = left.expected
    assert expected[1.0] == 10.0
    assert expected[0.0] == 1000.0 * EXPECTED.loss
    assert 10.0 < expected[0.5] < 1000.0


@pytest.mark.parametrize(("last_rate", "low", "high"), [(4.0, 25.0, 50.0), (1.0, 50.0, 100.0), (0.0, 50.0, 250.0)])
def test_a_run_that_got_faster_or_slower_leaves_as_much_uncertain(last_rate: float, low: float, high: float) -> None:
    assert estimate_left(math.inf, 1.0, 100, 2.0, last_rate) == Range(low / HIGH.loss, 50.0, high * HIGH.loss)


def test_the_rate_of_engines_that_are_through_says_nothing_of_the_others() -> None:
    """A small model did 100 rows/s; what is left is a large one's, of which only priors are known."""
    prior = estimate_left(800.0, 1.0, 2000)
    left = estimate_left(800.0, 1.0, 2000, 100.0, 100.0, rate_share=0.0)
    assert left is not None
    assert prior is not None
    assert (left.low, left.expected, left.high) == pytest.approx((prior.low, prior.expected, prior.high))
    half = estimate_left(800.0, 1.0, 2000, 100.0, 100.0, rate_share=0.5)
    assert half is not None
    assert 20.0 < half.expected < left.expected
    assert half.low <= half.expected <= half.high


def test_where_no_horizon_is_known_the_rate_is_what_there_is() -> None:
    left = estimate_left(math.inf, 1.0, 60, 1.0, 1.0, rate_share=0.0)
    assert left == Range(60 / HIGH.loss, 60.0, 60 * HIGH.loss)

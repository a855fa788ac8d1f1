"""A bucket lets through what is allowed: no more in any minute, and hardly less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.ratelimit.admission import SHORTEST_WAIT_S
from eibench_ray.ratelimit.token_bucket import BURST_S, TokenBucket, rate_under

# Seconds between two attempts to pass, as an eager client and an idle one have them.
pauses = st.lists(st.floats(0.0, 0.2) | st.floats(0.0, 30.0), min_size=1, max_size=300)


def passed(bucket: TokenBucket, steps: list[float], amount: float = 1.0) -> list[float]:
    """When something passed, of attempts after some pauses."""
    now, times = 0.0, []
    for step in steps:
        now += step
        while bucket.wait_s(now) == 0.0:
            bucket.take(amount)
            times.append(now)
    return times


def most_within(times: list[float], span_s: float) -> int:
    return max((sum(begin <= at < begin + span_s for at in times) for begin in times), default=0)


@given(pauses, st.integers(1, 6000))
def test_no_minute_is_overrun(steps: list[float], per_min: float) -> None:
    bucket = TokenBucket()
    bucket.allow(rate_under(per_min), 0.0)
    assert most_within(passed(bucket, steps), 60.0) <= per_min


@given(pauses, st.floats(1000.0, 100_000.0), st.floats(50.0, 3000.0))
def test_no_minute_is_overrun_by_more_than_one_amount(steps: list[float], per_min: float, amount: float) -> None:
    bucket = TokenBucket()
    bucket.allow(rate_under(per_min), 0.0)
    assert most_within(passed(bucket, steps, amount), 60.0) * amount <= per_min + amount


@pytest.mark.parametrize("per_min", [3, 60, 600, 10_000])
def test_a_limit_is_used(per_min: float) -> None:
    bucket = TokenBucket()
    bucket.allow(rate_under(per_min), 0.0)
    now, count = 0.0, 0
    while now < 1200:
        wait_s = bucket.wait_s(now)
        if wait_s == 0.0:
            bucket.take(1.0)
            count += 1
        now += max(wait_s, SHORTEST_WAIT_S)
    assert 0.97 * 20 * per_min <= count


def test_what_was_not_used_is_not_saved_for_long() -> None:
    bucket = TokenBucket()
    bucket.allow(10.0, 0.0)
    assert len(passed(bucket, [3600.0])) == 10 * BURST_S


def test_an_amount_that_was_reserved_comes_back() -> None:
    bucket = TokenBucket()
    bucket.allow(100.0, 0.0)
    bucket.take(1000.0)
    assert bucket.wait_s(0.0) == pytest.approx(9.51)
    bucket.take(-900.0)
    assert bucket.wait_s(0.0) == pytest.approx(0.51)


def test_without_a_rate_everything_passes() -> None:
    bucket = TokenBucket()
    bucket.take(1e9)
    assert bucket.wait_s(0.0) == 0.0
    bucket.allow(1.0, 5.0)
    assert bucket.wait_s(5.0) == 0.0


def test_after_a_hold_nothing_was_saved_up() -> None:
    bucket = TokenBucket()
    bucket.allow(10.0, 0.0)
    bucket.calm(1.0)
    bucket.hold(3.0)
    assert bucket.wait_s(3.0) == pytest.approx(0.05)

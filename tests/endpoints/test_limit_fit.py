"""The limit that would have refused the same requests."""

from __future__ import annotations

import random

import pytest
from fault_limits import Gate, Limit

from eibench_ray.ratelimit.limit_estimate import fit_limit


def record(
    per_min: float, burst_s: float, asked_per_s: float, jitter_s: float = 0.0
) -> tuple[list[float], list[float]]:
    """When requests entered and which of them an endpoint refused, from one refusal to the last."""
    draw, admission = random.Random(1), Gate(Limit(requests_per_min=per_min, burst_s=burst_s))
    entered, refused, now = [], [], 100.0
    while now < 125.0:
        if admission.wait_s(0, now + draw.uniform(0.0, jitter_s)) > 0:
            refused.append(now)
        if refused:
            entered.append(now)
        now += draw.uniform(0.7, 1.3) / asked_per_s
    return [at for at in entered if at <= refused[-1]], refused


@pytest.mark.parametrize("burst_s", [1.0, 2.0])
@pytest.mark.parametrize("asked_per_s", [11.0, 13.0])
def test_it_finds_the_rate(burst_s: float, asked_per_s: float) -> None:
    assert fit_limit(*record(600.0, burst_s, asked_per_s)) == pytest.approx(10.0, rel=0.015)


def test_an_endpoint_that_saves_nothing_up_is_taken_for_what_it_gave() -> None:
    assert 6.0 < fit_limit(*record(600.0, 0.1, 11.0)) < 8.5


def test_different_ways_to_the_endpoint_hardly_matter() -> None:
    assert fit_limit(*record(600.0, 1.0, 12.0, jitter_s=0.02)) == pytest.approx(10.0, rel=0.015)


def test_many_requests_speak_for_themselves() -> None:
    assert fit_limit(*record(6000.0, 1.0, 110.0, jitter_s=0.02)) == pytest.approx(100.0, rel=0.01)


def test_a_pause_in_which_the_endpoint_was_full_is_seen_through() -> None:
    admission, now = Gate(Limit(requests_per_min=600.0, burst_s=1.0)), 100.0
    entered, refused, pauses = [], [], [0.1, 3.0, 0.1, 0.3, 2.0, 0.1]
    while len(refused) < 6:
        is_refused = admission.wait_s(0, now) > 0
        if is_refused:
            refused.append(now)
        if refused:
            entered.append(now)
        now += pauses[len(refused) - 1] if is_refused else 1 / 13.0
    mean = (len(entered) - len(refused)) / (entered[-1] - entered[0])
    assert mean < 8.5
    assert fit_limit(entered, refused) == pytest.approx(10.0, rel=0.02)

"""Estimates: priors that give way to what the run measures."""

from __future__ import annotations

import pytest

from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.schedule.engine_estimate import EngineEstimate
from eibench_ray.schedule.resources import EngineProfile, Need

PRIOR = EngineProfile("a", Need(), 90.0, 100.0, 8, None, {"answer": 50.0, "verdict": 10.0})


def full_batch(tokens: float) -> AskedWork:
    """A second of a replica whose batch was full."""
    return AskedWork(1, 0, round(tokens), 0, engine_s=1.0, row_s=8.0)


def test_priors_stand_until_something_is_measured() -> None:
    estimate = EngineEstimate(PRIOR)
    assert (estimate.load_s, estimate.tokens_per_s, estimate.tokens_per_row("answer")) == (90.0, 100.0, 50.0)
    assert estimate.work_s({"answer": 4, "verdict": 20}) == pytest.approx(4.0)


def test_loads_are_known_from_the_first_one_on() -> None:
    estimate = EngineEstimate(PRIOR)
    estimate.loaded(30)
    estimate.loaded(50)
    assert estimate.load_s == 40


def test_lengths_approach_what_is_measured_step_by_step() -> None:
    estimate = EngineEstimate(PRIOR)
    lengths = []
    for _ in range(100):
        estimate.replied("answer", 10, 2000)
        lengths.append(estimate.tokens_per_row("answer"))
    assert lengths == sorted(lengths)
    assert lengths[0] > 50
    assert lengths[-1] == pytest.approx(200, rel=0.05)
    assert estimate.tokens_per_row("verdict") == 10


def test_speed_approaches_what_is_measured() -> None:
    estimate = EngineEstimate(PRIOR)
    estimate.answered("answer", AskedWork())
    assert estimate.tokens_per_s == 100
    for _ in range(100):
        estimate.answered("answer", full_batch(400))
    assert estimate.tokens_per_s == pytest.approx(400, rel=0.05)
    assert estimate.work_s({"answer": 8}) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("factor", [100.0, 1 / 100.0])
def test_a_prior_that_is_far_off_is_forgotten(factor: float) -> None:
    estimate = EngineEstimate(PRIOR)
    for _ in range(4):
        estimate.answered("answer", full_batch(100 * factor))
    assert estimate.tokens_per_s == pytest.approx(100 * factor, rel=0.3)
    assert estimate.prior_share < 0.02


def test_a_batch_that_is_not_full_counts_as_if_it_were() -> None:
    alone = EngineEstimate(PRIOR)  # a row alone is four times as fast as one of eight in a full batch
    for _ in range(10):
        alone.answered("answer", AskedWork(1, 0, 50, 0, engine_s=1.0, row_s=1.0))
    assert alone.tokens_per_s == pytest.approx(100.0)

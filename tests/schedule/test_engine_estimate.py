"""Estimates: priors that give way to what the run measures."""

from __future__ import annotations

import pytest

from eibench_ray.schedule.engine_estimate import EngineEstimate
from eibench_ray.schedule.resources import EngineProfile, Need

PRIOR = EngineProfile("a", Need(), 90.0, 100.0, 8, None, {"answer": 50.0, "verdict": 10.0})


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
    estimate.generated(0, 0)
    assert estimate.tokens_per_s == 100
    for _ in range(100):
        estimate.generated(400, 1)
    assert estimate.tokens_per_s == pytest.approx(400, rel=0.05)
    assert estimate.work_s({"answer": 8}) == pytest.approx(1, rel=0.05)

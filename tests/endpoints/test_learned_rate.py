"""A limit that nobody has told is learnt, kept, and found again when it changes. On a simulated endpoint."""

from __future__ import annotations

import pytest
from fault_limits import Limit
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import Trace, World

from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.admission import Admission


def visit(limit: Limit, until_s: float = 70.0, configured: float | None = None, seed: int = 0) -> Trace:
    admission = Admission({"pool": RateLimits("pool", requests_per_min=configured)})
    return World(admission, lambda _: limit, seed=seed).run(until_s)


@settings(max_examples=25)
@given(st.integers(300, 3000), st.floats(1.5, 5.0), st.sampled_from(["no", "ms", "s"]), st.integers(0, 1000))
def test_a_steady_limit_is_learnt(per_min: int, burst_s: float, tells_wait: str, seed: int) -> None:
    limit = Limit.model_validate({"requests_per_min": per_min, "burst_s": burst_s, "tells_wait": tells_wait})
    trace = visit(limit, seed=seed)
    assert trace.share(per_min, 0.0, 70.0) >= 0.97
    assert trace.refusals_after(15.0) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_ten_requests_a_second_are_learnt_in_ten_seconds(seed: int) -> None:
    trace = visit(Limit(requests_per_min=600), seed=seed)
    assert trace.share(600, 0.0, 70.0) >= 0.97
    assert trace.refusals_after(10.0) == 0
    assert len(trace.refused) < 25


@pytest.mark.parametrize("kind", ["bucket", "window"])
def test_a_configured_limit_is_never_refused(kind: str) -> None:
    trace = visit(Limit.model_validate({"requests_per_min": 600, "kind": kind}), 300.0, configured=600.0)
    assert trace.refused == []
    assert trace.share(600, 0.0, 300.0) >= 0.97


def test_a_limit_in_the_headers_is_followed() -> None:
    trace = visit(Limit(requests_per_min=600, tells_limit=True))
    assert trace.share(600, 0.0, 70.0) >= 0.97
    assert trace.refusals_after(2.0) == 0


def test_a_configured_limit_that_is_too_high_is_corrected() -> None:
    trace = visit(Limit(requests_per_min=600), configured=1200.0)
    assert trace.share(600, 0.0, 70.0) >= 0.97
    assert trace.refusals_after(10.0) == 0


def test_a_low_limit_is_learnt_in_its_own_time() -> None:
    trace = visit(Limit(requests_per_min=60), 300.0)
    assert trace.share(60, 100.0, 300.0) >= 0.9
    assert len(trace.refused) < 40


def test_a_limit_that_was_raised_is_found() -> None:
    trace = World(Admission({}), lambda now: Limit(requests_per_min=600 if now < 60 else 1800)).run(300.0)
    assert trace.share(1800, 200.0, 300.0) >= 0.97


def test_a_limit_that_was_lowered_is_found() -> None:
    trace = World(Admission({}), lambda now: Limit(requests_per_min=1800 if now < 60 else 600)).run(120.0)
    assert trace.share(600, 80.0, 120.0) >= 0.97
    assert trace.refusals_after(80.0) <= 2


def test_probes_that_fail_become_rare() -> None:
    trace = visit(Limit(requests_per_min=600), 1800.0)
    quarters = [sum(begin <= at < begin + 450 for at in trace.refused) for begin in (0, 450, 900, 1350)]
    assert quarters[3] <= 2
    assert trace.share(600, 60.0, 1800.0) >= 0.97


@pytest.mark.parametrize("lasts_s", [5.0, 40.0])
def test_a_storm_is_waited_out_and_forgotten(lasts_s: float) -> None:
    limit = Limit(requests_per_min=600)
    world = World(Admission({}), lambda _: limit, refuses=lambda now, _: 30 < now < 30 + lasts_s)
    trace = world.run(150.0)
    in_storm = [at for at in trace.refused if 30 <= at < 30 + lasts_s]
    assert len(in_storm) < 25
    calm = 30 + 1.5 * lasts_s + 15
    assert trace.share(600, calm, 150.0) >= 0.9
    assert trace.refusals_after(calm) <= 2


def test_refusals_without_a_reason_do_not_choke_a_pool() -> None:
    limit = Limit(requests_per_min=6000)
    world = World(Admission({}), lambda _: limit, refuses=lambda _, draw: draw.random() < 0.05)
    trace = world.run(300.0)
    assert len(trace.passed) > 0.3 * 300 * 100
    assert min(sum(begin <= at < begin + 60 for at in trace.passed) for begin in range(0, 300, 60)) > 300


def test_a_window_is_filled_again_and_again() -> None:
    trace = visit(Limit(requests_per_min=600, kind="window", tells_wait="s"), 240.0)
    assert trace.share(600, 0.0, 240.0) >= 0.97

"""The lower bound: below every wall-clock time, and close to it where the best schedule is known."""

from __future__ import annotations

import math

import pytest
from cases import CHAIN, Graph, case_of, cases
from hypothesis import given, settings

from bench.baselines import reload_per_cell, two_phase
from eibench_ray.estimate.simulated_case import Case
from eibench_ray.estimate.simulator import Simulator

ONE: Graph = {"answer": ("a", ())}


# `make fuzz` goes on with others.
@settings(max_examples=60)
@given(cases())
def test_no_policy_goes_below_and_each_ends_whatever_dies_or_is_late(case: Case) -> None:
    least_s = case.lower_bound_s * (1 - 1e-9)
    assert Simulator(case, case.world.engines).run().wall_clock_s >= least_s
    phases, reloading = two_phase(case, case.world.engines), reload_per_cell(case)
    assert phases.wall_clock_s >= least_s
    # Its jobs share no replica: a limit of replicas, which raises the bound, is none for them.
    if all(profile.most == math.inf for profile in case.world.engines.values()):
        assert reloading.wall_clock_s >= least_s
    for outcome in (phases, reloading):
        assert (outcome.wall_clock_s > 0) == bool(case.lengths)
        assert outcome.loads >= outcome.loads_at_least


def test_one_replica_takes_its_load_and_its_tokens() -> None:
    case = case_of(ONE, num_rows=400, slice_rows=50, gpus=(1,))
    best = 30 + float(case.lengths["answer"].sum()) / 40
    assert case.lower_bound_s == pytest.approx(best, rel=0.01)
    assert case.lower_bound_s <= best


def test_a_single_row_goes_its_way_through_both_loads_at_most() -> None:
    case = case_of(CHAIN, num_rows=1, gpus=(2,), changes={"j": {"load_s": 300}})
    tick_s = 8 / 40 / 4
    # The judge loads while the answer is generated.
    assert case.lower_bound_s == pytest.approx(300 + float(case.lengths["verdict"][0]) * tick_s, rel=0.01)


def test_more_gpus_never_raise_it() -> None:
    bounds = [case_of(gpus=(count,)).lower_bound_s for count in (1, 2, 4, 8, 64)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > bounds[-1]


def test_a_limit_of_replicas_raises_it() -> None:
    free = case_of(ONE, num_rows=400, gpus=(8,))
    limited = case_of(ONE, num_rows=400, gpus=(8,), changes={"a": {"most": 1}})
    assert limited.lower_bound_s > 1.5 * free.lower_bound_s


def test_an_endpoint_is_one_however_many_gpus_there_are() -> None:
    case = case_of(CHAIN, num_rows=400, gpus=(8,), changes={"j": {"gpus": 0}})
    work_s = float(case.lengths["verdict"].sum()) / 40
    assert case.lower_bound_s > work_s
    outcome = Simulator(case, case.world.engines).run()
    assert 1 <= outcome.ratio < 1.1
    assert outcome.gpus_until_s is not None
    assert outcome.gpus_until_s < 0.7 * outcome.wall_clock_s


def test_nothing_to_do_takes_no_time() -> None:
    assert case_of().only((), 0.0).lower_bound_s == 0

"""The two ways without a scheduler: what they load, in which order, and that they do not win."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cases import CHAIN, TWO_MODELS, case_of

from bench.baselines import reload_per_cell, two_phase
from eibench_ray.errors import PlanError
from eibench_ray.estimate.simulated_case import Case, SimulationResult
from eibench_ray.estimate.simulated_replica import SimulatedReplica
from eibench_ray.estimate.simulator import STOP_S, Record, Simulator
from eibench_ray.plan.slices import Slice
from eibench_ray.schedule.decode_speed import DecodeSpeed
from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.schedule.gpu_usage import step_roles

Play = Callable[[Case, Record | None], SimulationResult]


def play_phases(case: Case, record: Record | None = None) -> SimulationResult:
    return two_phase(case, case.world.engines, record)


BOTH = pytest.mark.parametrize("play", [reload_per_cell, play_phases])


def step_s(case: Case, step: str) -> float:
    """Seconds of a step on a replica of its own."""
    profile = case.world.engines[case.plan.steps[step].engine]
    machine = SimulatedReplica(DecodeSpeed(profile.tokens_per_s, profile.capacity), 0.0)
    machine.add(Slice(step, 0, 0, len(case.lengths[step])), case.lengths[step].tolist(), 0.0)
    return machine.next_end() or 0.0


def test_a_job_is_the_sum_of_its_loads_and_steps() -> None:
    case = case_of(CHAIN, gpus=(1,))
    outcome = reload_per_cell(case)
    steps_s = step_s(case, "answer") + step_s(case, "verdict")
    assert outcome.wall_clock_s == pytest.approx(30 + STOP_S + 30 + steps_s)
    assert (outcome.loads, outcome.loads_at_least) == (2, 2)


def test_each_cell_loads_its_engines_anew_and_asks_shared_steps_again() -> None:
    case = case_of(TWO_MODELS)
    events: list[dict[str, Any]] = []
    outcome = reload_per_cell(case, events.append)
    # a and j; then a, b and j.
    assert outcome.loads == 5
    assert sum(event["event"] == "slice_committed" and event["step"] == "caption" for event in events) == 2


def test_a_job_holds_the_gpus_of_its_largest_engine() -> None:
    events: list[dict[str, Any]] = []
    reload_per_cell(case_of(CHAIN, gpus=(4,), changes={"a": {"gpus": 4}}), events.append)
    assert [event["gpus"] for event in events if event["event"] == "replica_starting"] == [4, 4]


def test_jobs_wait_for_a_node_in_their_order() -> None:
    side_by_side, in_turn = (reload_per_cell(case_of(TWO_MODELS, gpus=gpus)) for gpus in ((1, 1), (1,)))
    assert in_turn.wall_clock_s > 1.5 * side_by_side.wall_clock_s


def test_judging_begins_after_all_generation() -> None:
    events: list[dict[str, Any]] = []
    play_phases(case_of(TWO_MODELS), events.append)
    slices = [event for event in events if event["event"] in ("slice_sent", "slice_committed")]
    judged_from = min(event["time"] for event in slices if event["step"].startswith("verdict"))
    assert max(event["time"] for event in slices if not event["step"].startswith("verdict")) <= judged_from


def test_reloading_is_slower_than_the_shipped_policy() -> None:
    for seed in range(3):
        case = case_of(TWO_MODELS, num_rows=600, seed=seed)
        assert Simulator(case, case.world.engines).run().wall_clock_s < reload_per_cell(case).wall_clock_s


@BOTH
def test_ledgers_account_for_every_gpu_second(play: Play) -> None:
    case = case_of(failing=0.3, seed=2)
    events: list[dict[str, Any]] = []
    outcome = play(case, events.append)
    times = [event["time"] for event in events]
    assert times == sorted(times)
    assert sum(account(events, step_roles(case.plan)).seconds().values()) == pytest.approx(4 * outcome.wall_clock_s)


def test_a_job_that_fits_nowhere_is_said() -> None:
    with pytest.raises(PlanError, match="no node has room"):
        reload_per_cell(case_of(gpus=(1, 1), changes={"b": {"gpus": 2}}))

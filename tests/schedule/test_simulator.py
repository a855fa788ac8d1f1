"""The simulated run: every slice once, whatever dies or comes late, and the same again for the same seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from cases import CHAIN, TWO_MODELS, case_of, cases
from hypothesis import given, settings

from eibench_ray.errors import PlanError
from eibench_ray.estimate.simulated_case import Case, SimulationResult
from eibench_ray.estimate.simulator import Simulator
from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.schedule.gpu_usage import step_roles


def play(case: Case) -> tuple[SimulationResult, list[dict[str, Any]]]:
    """Result of a run, and its ledger."""
    events: list[dict[str, Any]] = []
    return Simulator(case, case.world.engines, events.append).run(), events


def named(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


@settings(max_examples=60)
@given(cases())
def test_every_slice_is_committed_once_and_no_gpu_is_held_twice(case: Case) -> None:
    outcome, events = play(case)
    check_slices(case, outcome, events)
    check_gpus(events)


def check_slices(case: Case, outcome: SimulationResult, events: list[dict[str, Any]]) -> None:
    """Each slice is committed once, after what it reads."""
    times = [event["time"] for event in events]
    assert times == sorted(times)
    committed = {(event["step"], event["slice"]): event["time"] for event in named(events, "slice_committed")}
    todo = [(slice_.step, slice_.index) for left in case.work.values() for slice_ in left.todo]
    assert len(named(events, "slice_committed")) == len(todo)
    assert committed.keys() == set(todo)
    for sent in named(events, "slice_sent"):
        for source in case.plan.steps[sent["step"]].inputs:
            assert committed.get((source, sent["slice"]), 0.0) <= sent["time"]
    assert outcome.rows == sum(event["new"] for event in named(events, "slice_committed"))
    assert outcome.loads >= outcome.loads_at_least


def check_gpus(events: list[dict[str, Any]]) -> None:
    """A node's GPUs are held by one replica each."""
    free: Counter[str] = Counter()
    held: dict[int, tuple[str, int]] = {}
    for event in events:
        match event["event"]:
            case "node_joined":
                free[event["node"]] += event["gpus"]
            case "replica_starting" if event["gpus"]:
                [node] = event["nodes"]
                held[event["replica"]] = (node, event["gpus"])
                free[node] -= event["gpus"]
                assert free[node] >= 0
            case "replica_stopped" if event["replica"] in held:
                node, gpus = held.pop(event["replica"])
                free[node] += gpus


def test_the_same_seed_gives_the_same_run() -> None:
    one, other, third = (play(case_of(failing=0.3, seed=seed)) for seed in (1, 1, 2))
    assert one[1] == other[1]
    assert one[0].wall_clock_s != third[0].wall_clock_s


def test_replicas_that_die_are_replaced() -> None:
    outcome, events = play(case_of(failing=0.5, num_rows=400, seed=3))
    assert outcome.deaths == len(named(events, "replica_lost")) > 0
    assert len(named(events, "slice_returned")) > 0
    assert outcome.wall_clock_s > play(case_of(num_rows=400, seed=3))[0].wall_clock_s


def test_nodes_that_join_later_are_used() -> None:
    alone, _ = play(case_of(num_rows=2000, gpus=(1,)))
    outcome, events = play(case_of(num_rows=2000, gpus=(1, 4), late_s={1: 100.0}))
    on_late = [event["time"] for event in named(events, "replica_starting") if event["nodes"] == ["n1"]]
    assert min(on_late) == pytest.approx(100.0, abs=2.0)
    assert outcome.wall_clock_s < 0.6 * alone.wall_clock_s


def test_what_needs_no_gpu_waits_for_none() -> None:
    recording = {"gpus": 0, "load_s": 1, "tokens_per_s": 1_000_000, "capacity": 1024}
    _, events = play(case_of(TWO_MODELS, gpus=(1,), changes={"a": recording}))
    started = {event["engine"]: event["time"] for event in reversed(named(events, "replica_starting"))}
    assert started["a"] == 0.0
    assert [event["nodes"] for event in named(events, "replica_starting") if event["engine"] == "a"] == [[]]


def test_a_sweep_without_gpus_ends() -> None:
    recording = {"gpus": 0, "load_s": 1, "tokens_per_s": 1_000_000, "capacity": 1024}
    outcome, _ = play(case_of(CHAIN, gpus=(0,), changes={"a": recording, "j": recording}))
    assert 1.0 < outcome.wall_clock_s < 10.0
    assert outcome.wall_clock_s >= outcome.lower_bound_s


def test_what_fits_nowhere_is_said() -> None:
    with pytest.raises(PlanError, match="no node has room"):
        play(case_of(gpus=(1, 1), changes={"b": {"gpus": 2}}))


def test_its_ledger_accounts_for_every_gpu_second() -> None:
    case = case_of(failing=0.2, seed=1, late_s={1: 40.0})
    outcome, events = play(case)
    usage = account(events, step_roles(case.plan))
    there_s = 2 * outcome.wall_clock_s + 2 * (outcome.wall_clock_s - named(events, "node_joined")[1]["time"])
    assert sum(usage.seconds().values()) == pytest.approx(there_s)


def test_a_part_of_a_case_keeps_its_lengths_and_waits_less_for_late_nodes() -> None:
    case = case_of(CHAIN, late_s={0: 5.0, 1: 30.0})
    part = case.only({"verdict"}, 10.0)
    assert part.lengths.keys() == {"verdict"}
    assert part.lengths["verdict"] is case.lengths["verdict"]
    assert [at for at, _ in part.world.nodes] == [0.0, 20.0]

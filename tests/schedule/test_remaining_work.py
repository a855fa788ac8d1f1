"""The work that is left for each engine, with what its replicas have done and hold, and those that start."""

from __future__ import annotations

import math

import pytest
from cases import CHAIN, case_of
from graphs import Graph, plan_of, work_of

from eibench_ray.schedule import remaining_work
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.remaining_work import WORTH_LOAD, forecast
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Resources
from eibench_ray.schedule.row_arrivals import SMALL_BATCHES
from eibench_ray.schedule.scheduler_state import SchedulerState

GRAPH: Graph = {"answer": ("a", (), 2)}
LOAD_S = 10.0


@pytest.fixture
def state() -> SchedulerState:
    """Twenty rows for an engine that takes 4 seconds for a row and has room for 4: a second of a full replica each."""
    profile = EngineProfile("a", Need((Resources(1, 1),)), LOAD_S, 10.0, 4, None, {"answer": 10.0})
    state = SchedulerState(Backlog(plan_of(GRAPH, 20), work_of(GRAPH, 20)), {"a": profile})
    state.places.add(Node("box", "box", Resources(16, 2)))
    return state


def test_before_a_replica_is_there_all_of_it_is_left(state: SchedulerState) -> None:
    demand = forecast(state, 0.0).demands["a"]
    assert (demand.work_s, demand.ready_s, demand.held_s) == (20.0, 20.0, 0.0)
    assert (demand.num_starting, demand.num_ready, demand.worth_s) == (0, 0, WORTH_LOAD * LOAD_S)


def test_a_replica_that_starts_is_expected_when_it_has_loaded(state: SchedulerState) -> None:
    state.start("a", 3.0, set())
    demand = forecast(state, 5.0).demands["a"]
    assert (demand.num_starting, demand.starting_s) == (1, 3.0 + LOAD_S - 5.0)


def test_half_of_a_batch_is_done_and_the_rest_of_what_a_replica_holds_is_held(state: SchedulerState) -> None:
    state.start("a", 0.0, set())
    replica = state.replicas[1]
    state.ready(replica, 4, LOAD_S)
    for _ in range(4):
        state.give(replica)
    demand = forecast(state, LOAD_S + 5.0).demands["a"]
    assert (demand.work_s, demand.held_s) == (20.0 - 4 / 2, 8.0 - 4 / 2)
    state.note_done(replica, 3)
    demand = forecast(state, LOAD_S + 6.0).demands["a"]
    assert (demand.work_s, demand.held_s) == (20.0 - 3 - 4 / 2, 8.0 - 3 - 4 / 2)
    demand = forecast(state, LOAD_S + 1.0).demands["a"]
    assert demand.work_s == 20.0 - 1.0, "no more is done than the time since its load allows"


def test_an_engine_that_was_given_up_has_nothing_left_though_it_is_there(state: SchedulerState) -> None:
    state.start("a", 0.0, set())
    state.backlog.drop_engine("a")
    found = forecast(state, 1.0)
    assert found.demands == {}
    assert found.horizon_s < math.inf


@pytest.mark.parametrize("num_nodes", [1, 20])
def test_gpus_to_spare_get_replicas_with_smaller_batches(num_nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"a": {"load_s": 60, "tokens_per_s": 200, "capacity": 64}, "j": {"tokens_per_s": 400, "capacity": 64}}
    case = case_of(CHAIN, num_rows=2000, gpus=(8,) * num_nodes, changes=changes)
    state = SchedulerState(Backlog(case.plan, case.work), case.world.engines)
    for _, node in case.world.nodes:
        state.places.add(node)
    found = forecast(state, 0.0)
    monkeypatch.setattr(remaining_work, "SHORTER", ())
    full = forecast(state, 0.0)
    if num_nodes == 1:
        assert found == full
    else:
        counts = {key: demand.num_new(found.horizon_s) for key, demand in found.demands.items()}
        assert sum(counts.values()) <= 8 * num_nodes
        assert all(counts[key] > demand.num_new(full.horizon_s) for key, demand in full.demands.items())
        assert found.horizon_s < full.horizon_s
        estimate = state.engines["a"].estimate
        share = SMALL_BATCHES.token_share
        assert found.demands["a"].work_s == pytest.approx(full.demands["a"].work_s / estimate.paced_speed(share))
        assert estimate.row_s("answer", share) == pytest.approx(share * estimate.row_s("answer"))

"""When the rows of a running sweep are expected, and how they are handed to the horizon's arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest
from graphs import Graph, plan_of, work_of

from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Resources
from eibench_ray.schedule.row_arrivals import DRAIN, FULL_BATCHES, SMALL_BATCHES, RowArrival, RowArrivals
from eibench_ray.schedule.scheduler_state import SchedulerState

JUDGED: Graph = {"answer": ("a", (), 2), "more": ("a", (), 2), "verdict": ("j", ("answer",), 2)}
LOAD_S, HORIZON_S = 10.0, 100.0


def state_of(graph: Graph, num_rows: int) -> SchedulerState:
    """Engines that take 4 seconds for a row and have room for 4: a row of theirs is a second of a full replica."""
    profiles = {}
    for key in {of for of, _, _ in graph.values()}:
        tokens = {step: 10.0 for step, (of, _, _) in graph.items() if of == key}
        profiles[key] = EngineProfile(key, Need((Resources(1, 1),)), LOAD_S, 10.0, 4, 1, tokens)
    state = SchedulerState(Backlog(plan_of(graph, num_rows), work_of(graph, num_rows)), profiles)
    state.places.add(Node("box", "box", Resources(16, 2)))
    return state


def test_what_reads_nothing_is_there() -> None:
    answer = RowArrivals(state_of(JUDGED, 20), 0.0).until(HORIZON_S)["answer"]
    assert (answer.from_s, answer.to_s, answer.num_waiting) == (0.0, 0.0, 0)


def test_verdicts_come_while_answers_are_made() -> None:
    verdict = RowArrivals(state_of(JUDGED, 20), 0.0).until(HORIZON_S)["verdict"]
    # Answers go first, as verdicts wait for them: half of the engine's work, from its load on, a row's time each.
    tail_s = 4.0
    assert verdict.from_s == LOAD_S + 4.0
    assert verdict.to_s == pytest.approx(LOAD_S + 0.5 * (HORIZON_S - tail_s - LOAD_S) + 4.0)
    assert verdict.num_waiting == 20


def test_verdicts_whose_answers_are_there_do_not_wait() -> None:
    state = state_of(JUDGED, 20)
    state.start("a", 0.0, set())
    state.ready(state.replicas[1], 4, LOAD_S)
    for _ in range(5):
        slice_ = state.give(state.replicas[1])
        state.take_off(state.replicas[1], slice_)
        state.backlog.finish(slice_)
    assert RowArrivals(state, LOAD_S).until(HORIZON_S)["verdict"].num_waiting == 10


def test_an_answer_leaves_time_for_its_verdict_and_for_its_batch_to_run_dry() -> None:
    streams = RowArrivals(state_of(JUDGED, 20), 0.0).until(HORIZON_S)
    assert {step: stream.tail_s for step, stream in streams.items()} == {
        "answer": 4.0 + DRAIN * 4.0,
        "more": DRAIN * 4.0,
        "verdict": DRAIN * 4.0,
    }


def test_of_two_chains_behind_a_step_the_longer_one_needs_its_time() -> None:
    graph: Graph = JUDGED | {"note": ("a", ("answer",), 2), "verdict": ("j", ("answer",), 2)}
    graph |= {"summary": ("j", ("verdict",), 2)}
    order = ("answer", "note", "verdict", "summary")
    streams = RowArrivals(state_of({step: graph[step] for step in order}, 20), 0.0).until(HORIZON_S)
    assert [streams[step].tail_s - DRAIN * 4.0 for step in order] == [8.0, 0.0, 4.0, 0.0]


def _waiting(from_s: float, to_s: float, num_waiting: int) -> RowArrival:
    return RowArrival(from_s, to_s, num_waiting, tail_s=0.0, pace=FULL_BATCHES)


def test_a_stream_comes_in_parts_and_loses_no_row() -> None:
    parts = list(_waiting(10.0, 50.0, 8).parts(20, HORIZON_S))
    assert parts[0] == (0.0, 12)
    assert [at_s for at_s, _ in parts[1:]] == [15.0, 25.0, 35.0, 45.0]
    assert sum(rows for _, rows in parts) == 20


def test_what_comes_at_the_end_counts_as_a_little_earlier() -> None:
    parts = list(_waiting(0.0, HORIZON_S, 4).parts(4, HORIZON_S))
    assert [at_s for at_s, _ in parts] == [12.5, 37.5, 62.5, FULL_BATCHES.latest * HORIZON_S]


def test_what_comes_at_the_end_comes_then_where_all_replicas_stand_side_by_side() -> None:
    parts = list(replace(_waiting(0.0, HORIZON_S, 8), pace=SMALL_BATCHES).parts(8, HORIZON_S))
    assert [at_s for at_s, _ in parts] == [(part + 0.5) / 8 * HORIZON_S for part in range(8)]


def test_nothing_counts_as_there_before_it_can_come() -> None:
    parts = list(_waiting(0.9 * HORIZON_S, HORIZON_S, 4).parts(4, HORIZON_S))
    assert [at_s for at_s, _ in parts] == [0.9 * HORIZON_S] * 4

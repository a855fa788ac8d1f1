"""The scheduler: what must be true of every run, on random sweeps and clusters; then each sentence of its policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from graphs import Graph, engines_of, graphs, plan_of, work_of
from hypothesis import given, settings
from hypothesis import strategies as st
from trial import Case, Trial, Troubles

from eibench_ray.plan.slices import Slice
from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.schedule.actions import Action, Feed, Start, Stop
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.remaining_work import RemainingWork, forecast
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Phase, Resources
from eibench_ray.schedule.scheduler import MANY_REPLICAS, REVIEW_S, Scheduler

NO_TROUBLES = st.just(Troubles())
MEMORY_GB = st.sampled_from([0.0, 24.0, 80.0])


@st.composite
def nodes(draw: st.DrawFn, name: str, most: int) -> tuple[Node, ...]:
    return tuple(
        Node(
            f"{name}{number}",
            f"{name}{number}",
            Resources(draw(st.integers(1, 16)), draw(st.integers(0, 4))),
            draw(MEMORY_GB),
        )
        for number in range(draw(st.integers(0 if name == "late" else 1, most)))
    )


NEEDS = st.one_of(
    st.builds(
        lambda bundles, memory_gb: Need(tuple(Resources(1, gpus) for gpus in bundles), memory_gb),
        st.one_of(st.lists(st.integers(0, 4), min_size=1, max_size=1), st.lists(st.just(1), min_size=2, max_size=3)),
        MEMORY_GB,
    ),
    st.just(Need()),
)


@st.composite
def cases(draw: st.DrawFn, troubles: st.SearchStrategy[Troubles] = NO_TROUBLES) -> Case:
    graph = draw(graphs())
    profiles = {
        key: EngineProfile(
            key,
            draw(NEEDS),
            load_s=draw(st.sampled_from([1.0, 10.0, 60.0])),
            tokens_per_s=draw(st.sampled_from([1.0, 20.0, 400.0])),
            capacity=draw(st.integers(1, 8)),
            max_replicas=draw(st.sampled_from([None, 1, 2])),
            tokens_per_row={step: float(draw(st.integers(1, 90))) for step in graph if graph[step][0] == key},
        )
        for key in engines_of(graph)
    }
    return Case(
        graph, draw(st.integers(1, 13)), profiles, draw(nodes("node", 3)), draw(st.integers(0, 999)), draw(troubles)
    )


TROUBLES = st.builds(
    Troubles,
    deaths=st.integers(0, 6),
    returned=st.integers(0, 3),
    given_up=st.integers(0, 1),
    joining=nodes("late", 2),
    leaving=st.integers(0, 2),
)


@settings(max_examples=60)
@given(cases())
def test_a_run_ends_with_every_slice_finished_once_and_a_load_is_for_a_slice(case: Case) -> None:
    """An engine is not started more often than it has slices, but for once in vain."""
    trial = Trial(case).run()
    slices = Counter(trial.engine_of(slice_) for slice_ in case.slices)
    assert trial.starts <= slices + Counter(case.profiles.keys())


@settings(max_examples=60)
@given(cases(TROUBLES))
def test_a_run_ends_whatever_happens_to_it_and_what_is_lost_is_loaded_again_once(case: Case) -> None:
    trial = Trial(case).run()
    slices = Counter(trial.engine_of(slice_) for slice_ in case.slices)
    assert trial.starts <= slices + trial.losses + trial.returns + Counter(case.profiles.keys())


def test_a_node_that_is_held_for_its_gpus_still_takes_what_needs_none() -> None:
    graph: Graph = {f"answer{number}": ("a", (), 4) for number in range(4)}
    graph |= {"verdict": ("b", ("answer0",), 4), "other": ("c", (), 4)}
    profiles = {
        key: EngineProfile(key, Need((Resources(1, gpus),)), 1.0, 1.0, 1, None, dict.fromkeys(graph, 30.0))
        for key, gpus in (("a", 3), ("b", 1), ("c", 0))
    }
    trial = Trial(Case(graph, 1, profiles, (Node("n", "n", Resources(2, 4)),), 0)).run()
    begun = [action.engine for now, action in trial.actions if isinstance(action, Start) and now == 0]
    assert sorted(begun) == ["a", "c"]


def test_an_engine_without_a_replica_does_not_wait_for_another_ones_second_copy() -> None:
    graph: Graph = {"brief": ("c", (), 1), "large": ("b", (), 1)}
    graph |= {f"remote{number}": ("a", (), 1) for number in range(5)}
    needs = {"a": Need(), "b": Need((Resources(1, 3),)), "c": Need((Resources(1, 1),))}
    tokens_per_row = dict.fromkeys(graph, 1.0) | {"large": 5.0}
    profiles = {key: EngineProfile(key, need, 1.0, 1.0, 1, None, tokens_per_row) for key, need in needs.items()}
    trial = Trial(Case(graph, 2, profiles, (Node("n", "n", Resources(2, 4)),), 0)).run()
    begun = [action.engine for now, action in trial.actions if isinstance(action, Start) and now == 0]
    assert sorted(begun) == ["a", "b", "c"]


@settings(max_examples=60)
@given(cases())
def test_single_copies_are_loaded_once_where_all_of_them_have_room(case: Case) -> None:
    case = alone(case)
    boxes = tuple(
        Node(f"{key}{number}", key, bundle, gpu_memory_gb=80.0)
        for key, profile in case.profiles.items()
        for number, bundle in enumerate(profile.need.bundles)
    )
    trial = Trial(replace(case, nodes=boxes)).run()
    assert trial.starts == dict.fromkeys(case.profiles, 1)


@settings(max_examples=60)
@given(cases())
def test_a_single_copy_is_loaded_again_only_after_what_it_reads(case: Case) -> None:
    """Once, and once more for each load of the engines whose answers it reads; so what reads nothing, once."""
    case = alone(case)
    trial = Trial(case).run()
    for key in case.profiles:
        sources = readings(case.graph, key) - {key}
        assert trial.starts[key] <= 1 + sum(trial.starts[source] for source in sources)


def alone(case: Case) -> Case:
    """The case with one copy of each engine at a time."""
    return replace(case, profiles={key: replace(one, max_replicas=1) for key, one in case.profiles.items()})


def readings(graph: Graph, engine: str) -> set[str]:
    """The engines that one reads from, directly or through others."""
    found: set[str] = set()
    new = {engine}
    while new:
        inputs = {source for key, sources, _ in graph.values() if key in new for source in sources}
        new = {graph[source][0] for source in inputs} - found
        found |= new
    return found


# The policy's sentences, one by one. 10 rows of 10 tokens at 10 tokens/s are 10 seconds.

ANSWERS: Graph = {"answer a": ("a", (), 2), "answer b": ("b", (), 2)}
JUDGED: Graph = {"answer": ("a", (), 2), "verdict": ("j", ("answer",), 2)}


def engine(key: str, graph: Graph, need: int | Need = 1, **known: Any) -> EngineProfile:
    need = Need((Resources(1, need),)) if isinstance(need, int) else need
    tokens = {step: 10.0 for step, (of, _, _) in graph.items() if of == key}
    facts = {"load_s": 5.0, "tokens_per_s": 10.0, "capacity": 4, "max_replicas": 1, "tokens_per_row": tokens}
    return EngineProfile(key, need, **(facts | known))


def node(name: str, gpus: int, memory_gb: float = 0.0) -> Node:
    return Node(name, name, Resources(16, gpus), memory_gb)


def scheduler_of(graph: Graph, num_rows: int, engines: Sequence[EngineProfile], *nodes: Node) -> Scheduler:
    backlog = Backlog(plan_of(graph, num_rows), work_of(graph, num_rows))
    return Scheduler(backlog, {one.key: one for one in engines}, nodes)


def told(scheduler: Scheduler, now: float) -> list[Action]:
    """All that it says now."""
    said: list[Action] = []
    while more := scheduler.decide(now):
        said += more
    return said


def started(said: Sequence[Action]) -> list[str]:
    return [action.engine for action in said if isinstance(action, Start)]


def fed(said: Sequence[Action]) -> list[tuple[int, Slice]]:
    return [(action.replica, slice_) for action in said if isinstance(action, Feed) for slice_ in action.slices]


def stopped(said: Sequence[Action]) -> list[int]:
    return [action.replica for action in said if isinstance(action, Stop)]


def bring_up(scheduler: Scheduler, now: float) -> list[tuple[int, Slice]]:
    """Starts what it wants started; all of it is ready five seconds later; what is fed then."""
    for action in told(scheduler, now):
        if isinstance(action, Start):
            scheduler.replica_ready(action.replica, 4, now + 5)
    return fed(told(scheduler, now + 5))


def finish(scheduler: Scheduler, slices: Sequence[tuple[int, Slice]]) -> None:
    for replica, slice_ in slices:
        scheduler.slice_finished(replica, slice_, 10 * slice_.num_rows)


def test_the_longest_is_started_first() -> None:
    graph: Graph = {"answer a": ("a", (), 2), "answer b": ("b", (), 2), "again b": ("b", (), 2)}
    scheduler = scheduler_of(graph, 10, [engine("a", graph), engine("b", graph)], node("box", 1))
    assert started(told(scheduler, 0)) == ["b"]


def test_what_has_room_is_started_at_once() -> None:
    scheduler = scheduler_of(ANSWERS, 10, [engine("a", ANSWERS), engine("b", ANSWERS)], node("box", 2))
    assert sorted(started(told(scheduler, 0))) == ["a", "b"]


@pytest.mark.parametrize(("tokens_per_s", "copies"), [(1e5, 1), (10.0, 4)])
def test_an_engine_has_as_many_copies_as_pay_for_their_load(tokens_per_s: float, copies: int) -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(
        graph, 400, [engine("a", graph, max_replicas=None, tokens_per_s=tokens_per_s)], node("box", 4)
    )
    assert started(told(scheduler, 0)) == ["a"] * copies


def on_cores(key: str, graph: Graph, ram_gb: float = 0.0) -> EngineProfile:
    return engine(key, graph, Need((Resources(1, 0),), ram_gb=ram_gb), max_replicas=None)


def test_where_no_engine_owns_a_gpu_copies_take_the_cores() -> None:
    """The one with three times the work gets three of four."""
    graph: Graph = {"answer a": ("a", (), 2), "b 1": ("b", (), 2), "b 2": ("b", (), 2), "b 3": ("b", (), 2)}
    scheduler = scheduler_of(graph, 400, [on_cores("a", graph), on_cores("b", graph)], Node("n", "n", Resources(4, 0)))
    assert Counter(started(told(scheduler, 0))) == {"a": 1, "b": 3}


@pytest.mark.parametrize(("ram_gb", "copies"), [(0.0, 4), (100.0, 4), (11.0, 2), (3.0, 1)])
def test_a_copy_needs_ram_and_a_first_replica_asks_for_none(ram_gb: float, copies: int) -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    box = Node("n", "n", Resources(4, 0), ram_gb=ram_gb)
    scheduler = scheduler_of(graph, 400, [on_cores("a", graph, ram_gb=5.0)], box)
    assert started(told(scheduler, 0)) == ["a"] * copies


def test_ram_that_a_replica_has_left_is_there_for_a_copy() -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    box = Node("n", "n", Resources(4, 0), ram_gb=11.0)
    scheduler = scheduler_of(graph, 400, [on_cores("a", graph, ram_gb=5.0)], box)
    told(scheduler, 0)
    scheduler.replica_lost(1, 1)
    assert started(told(scheduler, 1)) == []
    scheduler.replica_gone(1)
    assert started(told(scheduler, 2)) == ["a"]


def test_a_copy_on_cores_goes_for_an_engine_that_has_none() -> None:
    """The judge gets a core as soon as it has something to do, though generators hold all of them."""
    scheduler = scheduler_of(
        JUDGED, 400, [on_cores("a", JUDGED), on_cores("j", JUDGED)], Node("n", "n", Resources(2, 0))
    )
    now, held = 0.0, bring_up(scheduler, 0)
    while (judges := scheduler._state.engines["j"].count) == 0 and now < 400:
        now += 1
        finish(scheduler, held)
        said = told(scheduler, now)
        held = fed(said)
        for replica in stopped(said):
            scheduler.replica_gone(replica)
    assert judges == 1
    assert scheduler._state.engines["a"].count == 1


def test_a_slice_cannot_be_shared_by_copies() -> None:
    graph: Graph = {"answer": ("a", (), 200)}
    scheduler = scheduler_of(graph, 400, [engine("a", graph, max_replicas=None)], node("box", 4))
    assert started(told(scheduler, 0)) == ["a"] * 2


def test_copies_are_limited_by_the_configuration_and_by_what_the_run_learns() -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(graph, 400, [engine("a", graph, max_replicas=3)], node("box", 8))
    assert started(told(scheduler, 0)) == ["a"] * 3
    scheduler.limit_replicas("a", 2)
    scheduler.replica_lost(1, 1)
    scheduler.replica_lost(2, 1)
    assert started(told(scheduler, 1)) == ["a"]


def test_a_replica_holds_more_than_its_batch() -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(graph, 100, [engine("a", graph)], node("box", 1))
    held = bring_up(scheduler, 0)
    assert sum(slice_.num_rows for _, slice_ in held) == 6
    finish(scheduler, held[:1])
    assert fed(told(scheduler, 6)), "the end of a slice was a barrier"


def test_rows_that_are_finished_make_room_before_their_slice_is() -> None:
    graph: Graph = {"answer": ("a", (), 8)}
    scheduler = scheduler_of(graph, 100, [engine("a", graph)], node("box", 1))
    [(replica, first)] = bring_up(scheduler, 0)
    scheduler.rows_finished(replica, 2)
    assert fed(told(scheduler, 6)) == [], "six rows are left for a batch of four"
    scheduler.rows_finished(replica, 3)
    [(_, second)] = fed(told(scheduler, 7))
    scheduler.slice_finished(replica, first, 80)
    assert fed(told(scheduler, 8)) == [], "a finished slice's rows were counted for the next one"
    scheduler.rows_finished(replica, 3)
    assert len(fed(told(scheduler, 9))) == 1
    assert second.start == first.stop


def test_the_last_slices_go_to_the_replica_that_is_ahead() -> None:
    graph: Graph = {"answer": ("a", (), 4)}
    scheduler = scheduler_of(graph, 40, [engine("a", graph, max_replicas=2)], node("box", 2))
    held = bring_up(scheduler, 0)
    quick = held[0][0]
    scheduler.rows_finished(quick, 4)
    assert [replica for replica, _ in fed(told(scheduler, 7))] == [quick]


def test_a_speed_is_learnt_from_the_first_slice_on() -> None:
    graph: Graph = {"answer": ("a", (), 1)}
    scheduler = scheduler_of(graph, 400, [engine("a", graph)], node("box", 1))
    estimate = scheduler._state.engines["a"].estimate
    for replica, slice_ in bring_up(scheduler, 0):
        assert estimate.tokens_per_s < 20
        scheduler.slice_finished(replica, slice_, 60, AskedWork(1, 0, 60, 0, engine_s=3.0, row_s=12.0))
    assert estimate.tokens_per_s == pytest.approx(20.0, rel=0.1)


def test_a_judge_starts_on_the_first_answers() -> None:
    scheduler = scheduler_of(JUDGED, 100, [engine("a", JUDGED), engine("j", JUDGED)], node("box", 2))
    held = bring_up(scheduler, 0)
    finish(scheduler, held[:1])
    said = told(scheduler, 6 + REVIEW_S)
    judge = [action.replica for action in said if isinstance(action, Start)]
    for replica in judge:
        scheduler.replica_ready(replica, 4, 12)
    verdicts = [slice_ for _, slice_ in fed([*said, *told(scheduler, 12)]) if slice_.step == "verdict"]
    assert verdicts == [Slice("verdict", held[0][1].index, held[0][1].start, held[0][1].stop)]


def test_a_replica_stays_while_rows_may_still_come_to_it() -> None:
    scheduler = scheduler_of(JUDGED, 8, [engine("a", JUDGED), engine("j", JUDGED)], node("box", 2))
    held = bring_up(scheduler, 0)
    for number, one in enumerate(held):
        finish(scheduler, [one])
        said = told(scheduler, 6 + 10 * number)
        for action in said:
            if isinstance(action, Start):
                scheduler.replica_ready(action.replica, 4, 7 + 10 * number)
        finish(scheduler, fed([*said, *told(scheduler, 8 + 10 * number)]))
        if number < len(held) - 1:
            assert stopped(said) == []
    assert scheduler.is_done


def test_a_replica_whose_engine_is_through_is_stopped() -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(graph, 4, [engine("a", graph)], node("box", 1))
    held = bring_up(scheduler, 0)
    finish(scheduler, held[:-1])
    assert stopped(told(scheduler, 6)) == []
    finish(scheduler, held[-1:])
    assert stopped(told(scheduler, 7)) == [1]


def test_all_replicas_of_an_engine_that_is_through_are_stopped_at_once() -> None:
    graph: Graph = {"answer": ("a", (), 4)}
    scheduler = scheduler_of(graph, 40, [engine("a", graph, max_replicas=2)], node("box", 2))
    held, said = bring_up(scheduler, 0), []
    while held:
        assert stopped(said) == []
        finish(scheduler, held)
        said = told(scheduler, 6)
        held = fed(said)
    assert stopped(said) == [1, 2]


def test_a_judge_is_loaded_while_one_of_those_that_it_judges_is_at_work() -> None:
    graph: Graph = ANSWERS | {"verdict a": ("j", ("answer a",), 2), "verdict b": ("j", ("answer b",), 2)}
    engines = [engine("a", graph), engine("b", graph, 8), engine("j", graph)]
    scheduler = scheduler_of(graph, 10, engines, node("box", 2))
    assert started(told(scheduler, 0)) == ["a", "j"]


def test_a_gpu_that_comes_free_while_an_engine_loads_gets_a_copy_of_it() -> None:
    """Though nothing is urgent beside what takes long: two of them are through sooner."""
    engines = [engine("a", ANSWERS, max_replicas=None), engine("b", ANSWERS, tokens_per_s=1.0)]
    scheduler = scheduler_of(ANSWERS, 4, engines, node("box", 2))
    assert sorted(started(told(scheduler, 0))) == ["a", "b"]
    scheduler.add_node(node("late", 1))
    assert started(told(scheduler, 1)) == ["a"]


# A captioner that also answers; it is in the way of the model whose answers it is to judge.
CROSSED: Graph = {
    "caption": ("a", (), 2),
    "more": ("a", (), 2),
    "answer": ("b", (), 2),
    "verdict": ("a", ("answer",), 2),
    "summary": ("a", ("verdict",), 2),
}


def test_an_idle_replica_leaves_for_an_engine_that_has_rows_and_no_replica() -> None:
    engines = [engine("a", CROSSED, load_s=50.0), engine("b", CROSSED)]
    scheduler = scheduler_of(CROSSED, 2, engines, node("box", 1))
    held = bring_up(scheduler, 0)
    assert {slice_.step for _, slice_ in held} == {"caption", "more"}
    finish(scheduler, held)
    assert stopped(told(scheduler, 6 + REVIEW_S)) == [1]
    scheduler.replica_gone(1)
    assert started(told(scheduler, 10)) == ["b"]


def test_two_idle_replicas_that_wait_for_each_other_leave_too() -> None:
    graph: Graph = {
        "first a": ("a", (), 2),
        "first b": ("b", (), 2),
        "caption": ("c", (), 2),
        "answer": ("a", ("caption",), 2),
        "verdict": ("b", ("answer",), 2),
        "summary": ("a", ("verdict",), 2),
    }
    engines = [engine("a", graph, load_s=50.0), engine("b", graph, load_s=50.0), engine("c", graph, load_s=0.1)]
    scheduler = scheduler_of(graph, 2, engines, node("box", 2))
    held = bring_up(scheduler, 0)
    assert {slice_.step for _, slice_ in held} == {"first a", "first b"}
    finish(scheduler, held)
    gone = stopped(told(scheduler, 6 + REVIEW_S))
    assert len(gone) == 1
    scheduler.replica_gone(gone[0])
    assert "c" in started(told(scheduler, 10))


def test_a_starved_engine_without_a_home_does_not_stop_another() -> None:
    """Room is made for the one that can have it, though the other has more to do."""
    graph: Graph = CROSSED | {"huge": ("h", (), 1)}
    engines = [engine("a", graph), engine("b", graph), engine("h", graph, 8)]
    scheduler = scheduler_of(graph, 2, engines, node("box", 1))
    finish(scheduler, bring_up(scheduler, 0))
    assert stopped(told(scheduler, 6 + REVIEW_S)) == [1]


def test_memory_decides_on_which_node_a_replica_lies() -> None:
    need = Need((Resources(1, 1),), gpu_memory_gb=40)
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(graph, 4, [engine("a", graph, need)], node("small", 1, 24), node("large", 4, 80))
    assert told(scheduler, 0) == [Start(1, "a", ("large",))]
    alone = scheduler_of(graph, 4, [engine("a", graph, need)], node("small", 1, 24))
    assert told(alone, 0) == []


@pytest.mark.parametrize("lost", ["one", "two"])
def test_stages_lie_on_several_nodes_and_are_lost_with_any_of_them(lost: str) -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    need = Need((Resources(1, 2),) * 2)
    scheduler = scheduler_of(graph, 4, [engine("a", graph, need)], node("one", 2), node("two", 2))
    (start,) = told(scheduler, 0)
    assert isinstance(start, Start)
    assert sorted(start.nodes) == ["one", "two"]
    assert scheduler.remove_node(lost) == [1]
    scheduler.add_node(node("three", 2))
    assert started(told(scheduler, 1)) == [], "its other half is not free yet"
    scheduler.replica_gone(1)
    assert started(told(scheduler, 2)) == ["a"]


def test_what_needs_nothing_waits_for_nothing() -> None:
    graph: Graph = {"answer": ("a", (), 2), "verdict": ("r", (), 2)}
    scheduler = scheduler_of(graph, 4, [engine("a", graph), engine("r", graph, Need())])
    assert told(scheduler, 0) == [Start(1, "r", ())]


def test_a_node_that_joins_is_used() -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(graph, 4, [engine("a", graph)])
    assert told(scheduler, 0) == []
    scheduler.add_node(node("late", 1))
    assert told(scheduler, 1) == [Start(1, "a", ("late",))]


def test_what_a_lost_replica_held_goes_to_another_first() -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(graph, 100, [engine("a", graph)], node("box", 1))
    held = bring_up(scheduler, 0)
    scheduler.replica_lost(1, 6)
    assert started(told(scheduler, 6)) == [], "what the dead one holds is not free yet"
    scheduler.replica_gone(1)
    again = bring_up(scheduler, 8)
    assert [slice_ for _, slice_ in again[: len(held)]] == [slice_ for _, slice_ in held]


def test_a_large_replica_is_not_kept_waiting_by_small_ones() -> None:
    """It has most to do and needs both GPUs: no small one takes one of them first."""
    graph: Graph = {"first": ("a", (), 2), "large": ("b", (), 2), "small": ("c", (), 2)}
    engines = [engine("a", graph), engine("b", graph, 2, load_s=50.0), engine("c", graph)]
    scheduler = scheduler_of(graph, 10, engines, node("box", 2))
    assert started(told(scheduler, 0)) == ["b"]


def test_late_news_of_a_replica_that_is_gone_changes_nothing() -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(graph, 4, [engine("a", graph)], node("box", 1))
    held = bring_up(scheduler, 0)
    scheduler.replica_lost(1, 6)
    scheduler.replica_lost(1, 6)
    scheduler.replica_gone(1)
    finish(scheduler, held)
    scheduler.slice_returned(1, held[0][1], 7)
    scheduler.replica_ready(1, 4, 7)
    scheduler.replica_gone(1)
    assert scheduler.places.free("box") == Resources(16, 1)
    assert len(bring_up(scheduler, 8)) == len(held)


def test_an_engine_that_is_given_up_takes_its_dependants_and_frees_its_room() -> None:
    graph: Graph = JUDGED | {"other": ("b", (), 2)}
    scheduler = scheduler_of(graph, 4, [engine("a", graph), engine("b", graph), engine("j", graph)], node("box", 1))
    said = told(scheduler, 0)
    (key,) = started(said)
    assert scheduler.give_up("a") == {"answer", "verdict"}
    assert not scheduler.is_done
    if key == "a":
        scheduler.replica_lost(1, 1)
        scheduler.replica_gone(1)
        assert started(told(scheduler, 2)) == ["b"]
    assert scheduler.give_up("j") == set()
    assert scheduler.give_up("b") == {"other"}
    assert scheduler.is_done


def test_an_engine_that_is_asked_no_more_finishes_what_it_has() -> None:
    scheduler = scheduler_of(JUDGED, 20, [engine("a", JUDGED), engine("j", JUDGED)], node("box", 1))
    held = bring_up(scheduler, 0)
    assert scheduler.ask_no_more("a") == {"answer", "verdict"}
    assert stopped(told(scheduler, 6)) == []
    finish(scheduler, held[:-1])
    assert fed(told(scheduler, 7)) == []
    assert not scheduler.is_done
    finish(scheduler, held[-1:])
    assert stopped(told(scheduler, 8)) == [1]


def test_an_engine_that_rests_is_not_started_and_holds_nothing_back_meanwhile() -> None:
    scheduler = scheduler_of(ANSWERS, 10, [engine("a", ANSWERS), engine("b", ANSWERS)], node("box", 1))
    (first,) = [action for action in told(scheduler, 0) if isinstance(action, Start)]
    other = {"a": "b", "b": "a"}[first.engine]
    scheduler.replica_lost(first.replica, 1)
    scheduler.rest(first.engine, 9)
    scheduler.replica_gone(first.replica)
    (start,) = [action for action in told(scheduler, 1) if isinstance(action, Start)]
    assert start.engine == other
    scheduler.replica_ready(start.replica, 4, 2)
    said = told(scheduler, 2)
    while slices := fed(said):
        finish(scheduler, slices)
        said = told(scheduler, 3)
    (idle,) = stopped(said)
    scheduler.replica_gone(idle)
    assert not started(told(scheduler, 8.9))
    assert started(told(scheduler, 9)) == [first.engine]


def test_many_replicas_are_not_thought_over_at_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    reviews = []

    def note(*facts: Any) -> RemainingWork:
        reviews.append(facts)
        return forecast(*facts)

    monkeypatch.setattr("eibench_ray.schedule.scheduler.forecast", note)
    for num_gpus, num_reviews in ((MANY_REPLICAS, 2), (MANY_REPLICAS + 1, 1)):
        box = Node("box", "box", Resources(num_gpus, num_gpus))
        scheduler = scheduler_of(graph, 20_000, [engine("a", graph, max_replicas=None)], box)
        assert len(started(scheduler.decide(0))) == num_gpus
        reviews.clear()
        for number, now in enumerate((1.0, 1.001), start=1):
            scheduler.replica_ready(number, 4, now)
            scheduler.decide(now)
        assert len(reviews) == num_reviews


def test_the_end_of_a_rest_is_looked_at_when_it_comes() -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(graph, 100_000, [engine("a", graph, load_s=100.0)], node("box", 1))
    (first,) = [action for action in told(scheduler, 0) if isinstance(action, Start)]
    scheduler.replica_lost(first.replica, 1)
    scheduler.rest("a", 3.5)
    scheduler.replica_gone(first.replica)
    assert not started(told(scheduler, 1))
    assert not started(told(scheduler, 3.4))
    assert started(told(scheduler, 3.6)) == ["a"]


def test_a_node_is_held_for_the_second_copy_that_lacks_least_there() -> None:
    """An engine that waits for answers, and would take the last GPU, does not start beside it."""
    graph: Graph = {f"answer{number}": ("a", (), 4) for number in range(4)} | {"verdict": ("b", ("answer0",), 4)}
    engines = [engine("a", graph, 3, max_replicas=2), engine("b", graph)]
    assert started(told(scheduler_of(graph, 100, engines, node("box", 4)), 0)) == ["a"]
    assert sorted(started(told(scheduler_of(graph, 100, engines, node("box", 7)), 0))) == ["a", "a", "b"]


@pytest.mark.parametrize(("more", "drains"), [({}, True), ({"summary": ("a", ("verdict",), 2)}, False)])
def test_a_replica_that_its_engine_can_spare_makes_room_unless_rows_will_still_come(more: Graph, drains: bool) -> None:
    graph: Graph = JUDGED | more
    engines = [engine(key, graph, max_replicas=None, load_s=1.0) for key in ("a", "j")]
    scheduler = scheduler_of(graph, 60, engines, node("box", 2))
    held = bring_up(scheduler, 0)
    assert {replica for replica, _ in held} == {1, 2}
    for number in range(2):
        now = 7.0 + 2 * number
        ended = [next(one for one in held if one[0] == replica) for replica in (1, 2)]
        finish(scheduler, ended)
        held = [one for one in held if one not in ended] + fed(told(scheduler, now))
    [spared] = [replica for replica in (1, 2) if scheduler._state.replicas[replica].phase is Phase.DRAINING] or [None]
    assert (spared is not None) is drains
    if spared is not None:
        finish(scheduler, [one for one in held if one[0] == spared])
        said = told(scheduler, 12)
        assert stopped(said) == [spared]
        assert all(replica != spared for replica, _ in fed(said)), "what drains was given more"
        scheduler.replica_gone(spared)
        assert started(told(scheduler, 13)) == ["j"]


def test_slices_are_not_to_blame_for_nodes_that_leave() -> None:
    graph: Graph = {"answer": ("a", (), 2)}
    scheduler = scheduler_of(graph, 20, [engine("a", graph)])
    for number in range(3):
        scheduler.add_node(node(f"n{number}", 1))
        assert bring_up(scheduler, 20 * number)
        assert scheduler.remove_node(f"n{number}")
    scheduler.add_node(node("last", 1))
    [start] = [action for action in told(scheduler, 100) if isinstance(action, Start)]
    scheduler.replica_ready(start.replica, 4, 105)
    feeds = [action for action in told(scheduler, 105) if isinstance(action, Feed)]
    assert feeds
    assert not any(action.is_probe for action in feeds)

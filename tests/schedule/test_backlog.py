"""The backlog: every slice is finished exactly once, and a failed engine takes exactly its dependants with it."""

from __future__ import annotations

import random

import pytest
from graphs import CHAIN, Graph, dependants, engines_of, graphs, overlap, plan_of, slices_of, work_of
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.plan.slices import Slice
from eibench_ray.schedule.backlog import MARKS, Backlog


def backlog_of(graph: Graph, num_rows: int) -> Backlog:
    return Backlog(plan_of(graph, num_rows), work_of(graph, num_rows))


def take(backlog: Backlog, engine: str) -> Slice:
    """The next slice where all replies are of equal length; a candidate where nothing else is ready."""
    if backlog.num_probes(engine) == backlog.num_ready(engine):
        return backlog.take_probe(engine)
    return backlog.take(engine, lambda _: 1.0)


def run(backlog: Backlog, graph: Graph, chooser: random.Random, until: int | None = None) -> list[Slice]:
    """Takes, gives back and finishes slices at random; the finished ones in order."""
    finished: list[Slice] = []
    taken: list[Slice] = []
    engines = sorted(engines_of(graph))
    while not backlog.is_empty and (until is None or len(finished) < until):
        ready = [engine for engine in engines if backlog.num_ready(engine)]
        assert ready or taken, "nothing can be asked, and something is left"
        if ready and (not taken or chooser.random() < 0.6):
            taken.append(take(backlog, chooser.choice(ready)))
        elif chooser.random() < 0.2:
            slice_ = taken.pop(chooser.randrange(len(taken)))
            if chooser.random() < 0.5:
                backlog.mark(slice_)
            backlog.give_back(slice_)
        else:
            slice_ = taken.pop(chooser.randrange(len(taken)))
            backlog.finish(slice_)
            finished.append(slice_)
    for slice_ in taken:
        backlog.give_back(slice_)
    return finished


@given(graphs(), st.integers(0, 13), st.randoms(use_true_random=False))
def test_every_slice_is_finished_once_and_after_what_it_reads(
    graph: Graph, num_rows: int, chooser: random.Random
) -> None:
    finished = run(backlog_of(graph, num_rows), graph, chooser)
    everything = slices_of(graph, num_rows)
    assert sorted(finished, key=str) == sorted(everything, key=str)
    position = {slice_: place for place, slice_ in enumerate(finished)}
    for slice_ in finished:
        sources = [other for other in finished if other.step in graph[slice_.step][1] and overlap(other, slice_)]
        assert all(position[source] < position[slice_] for source in sources)


@given(graphs(), st.integers(1, 13), st.integers(0, 20), st.randoms(use_true_random=False))
def test_a_dropped_engine_takes_exactly_what_depends_on_it(
    graph: Graph, num_rows: int, until: int, chooser: random.Random
) -> None:
    backlog = backlog_of(graph, num_rows)
    finished = set(run(backlog, graph, chooser, until))
    everything = set(slices_of(graph, num_rows))
    left = everything - finished
    engine = chooser.choice(sorted(engines_of(graph)))
    lost = dependants(graph, left, {slice_ for slice_ in left if graph[slice_.step][0] == engine})
    assert backlog.drop_engine(engine) == {slice_.step for slice_ in lost}
    assert set(run(backlog, graph, chooser)) == left - lost
    assert backlog.is_empty
    for engine in engines_of(graph):
        assert (backlog.blocked_rows(engine), backlog.num_untaken(engine)) == (0, 0)
        assert not backlog.rows_left(engine)
        assert not backlog.ready_rows(engine)


@given(graphs(), st.integers(1, 13), st.integers(0, 20), st.randoms(use_true_random=False))
def test_what_is_taken_may_be_finished_where_no_more_is_to_be_asked(
    graph: Graph, num_rows: int, until: int, chooser: random.Random
) -> None:
    backlog = backlog_of(graph, num_rows)
    finished = set(run(backlog, graph, chooser, until))
    left = set(slices_of(graph, num_rows)) - finished
    engine = chooser.choice(sorted(engines_of(graph)))
    taken = {take(backlog, engine) for _ in range(chooser.randint(0, backlog.num_ready(engine)))}
    lost = dependants(graph, left, {slice_ for slice_ in left - taken if graph[slice_.step][0] == engine})
    assert backlog.drop_engine(engine, drops_taken=False) == {slice_.step for slice_ in lost}
    assert backlog.num_untaken(engine) == 0
    returned = {slice_ for slice_ in taken if chooser.random() < 0.5}
    for slice_ in taken:  # one that comes back is dropped as the others were
        if slice_ in returned:
            backlog.give_back(slice_)
            backlog.drop_engine(engine, drops_taken=False)
        else:
            backlog.finish(slice_)
    lost |= dependants(graph, left - lost, returned)
    assert set(run(backlog, graph, chooser)) == left - lost - (taken - returned)
    assert backlog.is_empty


@given(graphs(), st.integers(0, 13), st.data())
def test_only_what_is_to_do_is_waited_for(graph: Graph, num_rows: int, data: st.DataObject) -> None:
    everything = slices_of(graph, num_rows)
    done = frozenset(data.draw(st.sets(st.sampled_from(everything))) if everything else ())
    backlog = Backlog(plan_of(graph, num_rows), work_of(graph, num_rows, done))
    assert set(run(backlog, graph, random.Random(0))) == set(everything) - done


def test_rows_are_ready_or_blocked_until_they_are_taken() -> None:
    backlog = backlog_of(CHAIN, 10)
    assert (backlog.num_ready("a"), backlog.num_ready("j"), backlog.num_untaken("j")) == (3, 0, 3)
    assert (backlog.ready_rows("a"), backlog.ready_rows("j"), backlog.blocked_rows("j")) == ({"answer": 10}, {}, 10)
    first = take(backlog, "a")
    assert (first, backlog.num_untaken("a")) == (Slice("answer", 0, 0, 4), 2)
    assert (backlog.ready_rows("a"), backlog.rows_left("a")) == ({"answer": 6}, {"answer": 10})
    backlog.finish(first)
    assert (backlog.rows_left("a"), backlog.rows_left("j")) == ({"answer": 6}, {"verdict": 10})
    assert (backlog.ready_rows("j"), backlog.blocked_rows("j")) == ({"verdict": 4}, 6)


def test_a_slice_waits_for_its_own_rows_alone() -> None:
    backlog = backlog_of(CHAIN, 12)
    _, second, _ = (take(backlog, "a") for _ in range(3))
    backlog.finish(second)
    assert take(backlog, "j") == Slice("verdict", 1, 4, 8)


def test_a_slice_that_is_given_back_comes_first() -> None:
    backlog = backlog_of(CHAIN, 10)
    first, _ = take(backlog, "a"), take(backlog, "a")
    backlog.give_back(first)
    assert take(backlog, "a") == first


def test_a_taken_slice_keeps_the_backlog_open() -> None:
    backlog = backlog_of({"answer": ("a", (), 4)}, 4)
    slice_ = take(backlog, "a")
    assert not backlog.is_empty
    backlog.finish(slice_)
    assert backlog.is_empty


def test_a_slice_that_was_dropped_while_it_was_taken_stays_dropped() -> None:
    backlog = backlog_of(CHAIN, 4)
    slice_ = take(backlog, "a")
    assert backlog.drop_engine("a") == {"answer", "verdict"}
    assert not any(backlog.mark(slice_) for _ in range(MARKS)), "it is not to be probed either"
    backlog.give_back(slice_)
    assert backlog.is_empty
    assert backlog.num_ready("a") == 0


def test_dropping_a_judge_leaves_the_answers() -> None:
    backlog = backlog_of(CHAIN, 4)
    assert backlog.drop_engine("j") == {"verdict"}
    assert backlog.num_ready("a") == 1


def test_engines_are_dropped_one_after_the_other() -> None:
    """Slices that the first took with it are not taken again by the second."""
    backlog = backlog_of(CHAIN, 4)
    assert backlog.drop_engine("j") == {"verdict"}
    assert backlog.drop_engine("a") == {"answer"}
    assert backlog.drop_engine("a") == set()
    assert backlog.is_empty


def test_what_most_waits_for_comes_first_then_the_longest_replies() -> None:
    graph: Graph = {
        "short": ("a", (), 4),
        "long": ("a", (), 4),
        "caption": ("a", (), 4),
        "answer": ("b", ("caption",), 4),
    }
    backlog = backlog_of(graph, 4)
    tokens = {"short": 1.0, "long": 9.0, "caption": 1.0}
    assert [backlog.take("a", tokens.__getitem__).step for _ in range(3)] == ["caption", "long", "short"]


def test_of_two_chains_behind_a_step_the_longer_one_counts() -> None:
    graph: Graph = {
        "other": ("a", (), 4),
        "caption": ("a", (), 4),
        "note": ("b", ("caption", "other"), 4),
        "answer": ("b", ("caption",), 4),
        "verdict": ("j", ("answer",), 4),
    }
    tokens = {"other": 9.0, "caption": 1.0}
    assert backlog_of(graph, 4).take("a", tokens.__getitem__).step == "caption"


def test_a_step_that_reads_one_step_under_two_words_waits_for_it_once() -> None:
    graph: Graph = {"answer": ("a", (), 2), "verdict": ("j", ("answer", "answer"), 3)}
    assert len(run(backlog_of(graph, 6), graph, random.Random(1))) == 5


@pytest.mark.timeout(60)
def test_a_million_rows_make_a_backlog_in_seconds() -> None:
    # At 32 rows per slice, 31,250 slices of each step: comparing all pairs of them takes minutes.
    backlog = backlog_of({"answer": ("a", (), 1), "verdict": ("j", ("answer",), 1)}, 31_250)
    assert backlog.blocked_rows("j") == 31_250
    backlog.finish(take(backlog, "a"))
    assert backlog.num_ready("j") == 1


def test_a_slice_is_a_suspect_after_two_deaths_and_comes_last_from_then_on() -> None:
    backlog = backlog_of(CHAIN, 12)
    first = take(backlog, "a")
    assert not backlog.mark(first)
    backlog.give_back(first)
    assert (take(backlog, "a"), backlog.num_probes("a")) == (first, 0)
    assert backlog.mark(first)
    backlog.give_back(first)
    assert (backlog.num_ready("a"), backlog.num_probes("a"), backlog.ready_rows("a")) == (3, 1, {"answer": 12})
    others = [take(backlog, "a"), take(backlog, "a")]
    assert first not in others
    assert take(backlog, "a") == first
    backlog.give_back(first)
    assert backlog.drop_engine("a") == {"answer", "verdict"}
    assert (backlog.num_probes("a"), backlog.is_empty) == (0, True)


def test_a_slice_that_is_given_back_twice_is_there_once() -> None:
    backlog = backlog_of(CHAIN, 10)
    first = take(backlog, "a")
    for _ in range(2):
        backlog.give_back(first)
    assert (backlog.num_ready("a"), backlog.ready_rows("a")) == (3, {"answer": 10})
    backlog.finish(first)
    assert backlog.num_ready("a") == 3, "what nobody has is not finished"


def test_rows_are_counted_where_they_are() -> None:
    backlog = backlog_of(CHAIN, 10)
    assert (backlog.rows_left("a"), backlog.rows_left("j")) == ({"answer": 10}, {"verdict": 10})
    assert (backlog.num_untaken("a"), backlog.num_untaken("j"), backlog.num_ready("j")) == (3, 3, 0)
    assert (backlog.blocked_rows("a"), backlog.blocked_rows("j")) == (0, 10)
    first = take(backlog, "a")
    assert (backlog.ready_rows("a"), backlog.rows_left("a"), backlog.num_untaken("a")) == (
        {"answer": 6},
        {"answer": 10},
        2,
    )
    backlog.finish(first)
    assert (backlog.rows_left("a"), backlog.blocked_rows("j"), backlog.num_ready("j")) == ({"answer": 6}, 6, 1)
    assert backlog.sources == {"a": set(), "j": {"a"}}
    assert backlog.steps == [("answer", "a", ()), ("verdict", "j", ("answer",))]

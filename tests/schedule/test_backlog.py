"""The backlog: every slice is finished exactly once, and a failed engine takes exactly its dependants with it."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.config.schema import EchoEngine, Expectation
from eibench_ray.plan.graph import DatasetSpec, EngineSpec, Plan, Prompt, Step
from eibench_ray.records import Sampling
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.store.resume import Slice, StepWork, cut

# step -> (engine, steps that it reads, rows per slice)
Graph = Mapping[str, tuple[str, tuple[str, ...], int]]

CHAIN: Graph = {"answer": ("a", (), 4), "verdict": ("j", ("answer",), 4)}


def plan_of(graph: Graph, num_rows: int) -> Plan:
    engines = {
        key: EngineSpec(key, key, EchoEngine(kind="echo"), "cpu", None, 0, Expectation())
        for key in dict.fromkeys(engine for engine, _, _ in graph.values())
    }
    steps = {
        name: Step(
            name,
            name,
            engine,
            Prompt(None, "", image=False, is_official=False),
            Sampling(0.0, 1.0, 8),
            0,
            "faces",
            {source: source for source in inputs},
        )
        for name, (engine, inputs, _) in graph.items()
    }
    dataset = DatasetSpec("faces", "faces", None, num_rows, is_prepared=True)
    return Plan("test", engines, {"faces": dataset}, steps, ())


def work_of(graph: Graph, num_rows: int, done: frozenset[Slice] = frozenset()) -> dict[str, StepWork]:
    """Everything to do, but for what is done."""
    return {
        name: StepWork(num_rows, 0, 0, tuple(slice_ for slice_ in cut(name, num_rows, size) if slice_ not in done))
        for name, (_, _, size) in graph.items()
    }


def backlog_of(graph: Graph, num_rows: int) -> Backlog:
    return Backlog(plan_of(graph, num_rows), work_of(graph, num_rows))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to seven steps on up to four engines; each reads up to two earlier ones."""
    graph: dict[str, tuple[str, tuple[str, ...], int]] = {}
    for number in range(draw(st.integers(1, 7))):
        inputs = draw(st.lists(st.sampled_from(sorted(graph)), max_size=2, unique=True)) if graph else []
        graph[f"step{number}"] = (draw(st.sampled_from("abcd")), tuple(inputs), draw(st.integers(1, 6)))
    return graph


def overlap(one: Slice, other: Slice) -> bool:
    return bool(set(range(one.start, one.stop)) & set(range(other.start, other.stop)))


def dependants(graph: Graph, left: set[Slice], lost: set[Slice]) -> set[Slice]:
    """What cannot be finished when some slices are lost, by the definition."""
    while True:
        more = {
            slice_
            for slice_ in left - lost
            if any(source.step in graph[slice_.step][1] and overlap(source, slice_) for source in lost)
        }
        if not more:
            return lost
        lost = lost | more


def run(backlog: Backlog, graph: Graph, chooser: random.Random, until: int | None = None) -> list[Slice]:
    """Takes, gives back and finishes slices at random; the finished ones in order."""
    finished: list[Slice] = []
    taken: list[Slice] = []
    engines = sorted({engine for engine, _, _ in graph.values()})
    while not backlog.is_empty and (until is None or len(finished) < until):
        ready = [engine for engine in engines if backlog.ready(engine)]
        assert ready or taken, "nothing can be asked, and something is left"
        if ready and (not taken or chooser.random() < 0.6):
            taken.append(backlog.take(chooser.choice(ready)))
        elif chooser.random() < 0.2:
            backlog.give_back(taken.pop(chooser.randrange(len(taken))))
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
    everything = [slice_ for name, (_, _, size) in graph.items() for slice_ in cut(name, num_rows, size)]
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
    everything = {slice_ for name, (_, _, size) in graph.items() for slice_ in cut(name, num_rows, size)}
    left = everything - finished
    engine = chooser.choice(sorted({engine for engine, _, _ in graph.values()}))
    lost = dependants(graph, left, {slice_ for slice_ in left if graph[slice_.step][0] == engine})
    assert backlog.drop_engine(engine) == {slice_.step for slice_ in lost}
    assert set(run(backlog, graph, chooser)) == left - lost
    assert backlog.is_empty
    assert all(backlog.blocked_rows(engine) == 0 for engine, _, _ in graph.values())


@given(graphs(), st.integers(0, 13), st.data())
def test_only_what_is_to_do_is_waited_for(graph: Graph, num_rows: int, data: st.DataObject) -> None:
    everything = [slice_ for name, (_, _, size) in graph.items() for slice_ in cut(name, num_rows, size)]
    done = frozenset(data.draw(st.sets(st.sampled_from(everything))) if everything else ())
    backlog = Backlog(plan_of(graph, num_rows), work_of(graph, num_rows, done))
    assert set(run(backlog, graph, random.Random(0))) == set(everything) - done


def test_rows_are_ready_or_blocked_until_they_are_taken() -> None:
    backlog = backlog_of(CHAIN, 10)
    assert (backlog.ready("a"), backlog.ready("j"), backlog.blocked_rows("j")) == ((4, 4, 2), (), 10)
    first = backlog.take("a")
    assert (first, backlog.ready("a")) == (Slice("answer", 0, 0, 4), (4, 2))
    backlog.finish(first)
    assert (backlog.ready("j"), backlog.blocked_rows("j")) == ((4,), 6)


def test_a_slice_waits_for_its_own_rows_alone() -> None:
    backlog = backlog_of(CHAIN, 12)
    _, second, _ = (backlog.take("a") for _ in range(3))
    backlog.finish(second)
    assert backlog.take("j") == Slice("verdict", 1, 4, 8)


def test_a_slice_that_is_given_back_comes_first() -> None:
    backlog = backlog_of(CHAIN, 10)
    first, _ = backlog.take("a"), backlog.take("a")
    backlog.give_back(first)
    assert backlog.take("a") == first


def test_a_taken_slice_keeps_the_backlog_open() -> None:
    backlog = backlog_of({"answer": ("a", (), 4)}, 4)
    slice_ = backlog.take("a")
    assert not backlog.is_empty
    backlog.finish(slice_)
    assert backlog.is_empty


def test_a_slice_that_was_dropped_while_it_was_taken_stays_dropped() -> None:
    backlog = backlog_of(CHAIN, 4)
    slice_ = backlog.take("a")
    assert backlog.drop_engine("a") == {"answer", "verdict"}
    backlog.give_back(slice_)
    assert backlog.is_empty
    with pytest.raises(IndexError):
        backlog.take("a")


def test_dropping_a_judge_leaves_the_answers() -> None:
    backlog = backlog_of(CHAIN, 4)
    assert backlog.drop_engine("j") == {"verdict"}
    assert backlog.ready("a") == (4,)


def test_a_step_that_reads_one_step_under_two_words_waits_for_it_once() -> None:
    graph: Graph = {"answer": ("a", (), 2), "verdict": ("j", ("answer", "answer"), 3)}
    assert len(run(backlog_of(graph, 6), graph, random.Random(1))) == 5


@pytest.mark.timeout(60)
def test_a_million_rows_make_a_backlog_in_seconds() -> None:
    # At 32 rows per slice, 31,250 slices of each step: comparing all pairs of them takes minutes.
    backlog = backlog_of({"answer": ("a", (), 1), "verdict": ("j", ("answer",), 1)}, 31_250)
    assert backlog.blocked_rows("j") == 31_250
    backlog.finish(backlog.take("a"))
    assert backlog.ready("j") == (1,)

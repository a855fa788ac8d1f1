"""Small plans for the schedule's tests: steps on engines, over a dataset of a few rows."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.registry import engine_spec
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import DatasetSpec, Plan, Prompt, Step
from eibench_ray.plan.slices import Slice, StepWork, cut
from eibench_ray.rows.request import Sampling

# step -> (engine, steps that it reads, rows per slice)
Graph = Mapping[str, tuple[str, tuple[str, ...], int]]

CHAIN: Graph = {"answer": ("a", (), 4), "verdict": ("j", ("answer",), 4)}


def plan_of(graph: Graph, num_rows: int) -> Plan:
    engines = {
        key: engine_spec(key, key, EchoSection(kind="echo"), "cpu", None, 0, Expectation()) for key in engines_of(graph)
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


def slices_of(graph: Graph, num_rows: int) -> list[Slice]:
    return [slice_ for name, (_, _, size) in graph.items() for slice_ in cut(name, num_rows, size)]


def engines_of(graph: Graph) -> list[str]:
    """In the order in which they occur."""
    return list(dict.fromkeys(engine for engine, _, _ in graph.values()))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to seven steps on up to four engines; each reads up to two earlier ones."""
    graph: dict[str, tuple[str, tuple[str, ...], int]] = {}
    for number in range(draw(st.integers(1, 7))):
        inputs = draw(st.lists(st.sampled_from(sorted(graph)), max_size=2, unique=True)) if graph else []
        graph[f"step{number}"] = (draw(st.sampled_from("abcd")), tuple(inputs), draw(st.integers(1, 6)))
    return graph


def overlap(one: Slice, other: Slice) -> bool:
    return one.start < other.stop and other.start < one.stop


def sources_of(graph: Graph, slice_: Slice, among: list[Slice]) -> list[Slice]:
    """The slices that one reads."""
    return [other for other in among if other.step in graph[slice_.step][1] and overlap(other, slice_)]


def dependants(graph: Graph, left: set[Slice], lost: set[Slice]) -> set[Slice]:
    """Slices that cannot be finished when some are lost, by the definition."""
    while True:
        more = {slice_ for slice_ in left - lost if sources_of(graph, slice_, list(lost))}
        if not more:
            return lost
        lost = lost | more

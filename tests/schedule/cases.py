"""Small cases for the simulator: built from tables, or at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.registry import engine_spec
from eibench_ray.estimate.simulated_case import Case, World
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import Cell, DatasetSpec, Plan, Prompt, Step
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.plan.slices import StepWork, cut
from eibench_ray.rows.request import Sampling
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Resources

# step -> (engine, steps that it reads); a step whose name begins with "verdict" is judging
Graph = Mapping[str, tuple[str, tuple[str, ...]]]

CHAIN: Graph = {"answer": ("a", ()), "verdict": ("j", ("answer",))}
TWO_MODELS: Graph = {
    "caption": ("a", ()),
    "answer_a": ("a", ("caption",)),
    "answer_b": ("b", ("caption",)),
    "verdict_a": ("j", ("answer_a",)),
    "verdict_b": ("j", ("answer_b",)),
}
MEAN_TOKENS = 20.0
MAX_TOKENS = 100


def plan_of(graph: Graph, num_rows: int) -> Plan:
    """A plan with a cell for every step that no other reads."""
    engines = {
        key: engine_spec(key, f"model {key}", EchoSection(kind="echo"), "cuda", None, 0, Expectation())
        for key in dict.fromkeys(engine for engine, _ in graph.values())
    }
    prompt, sampling = Prompt(None, "", image=False, is_official=False), Sampling(0.0, 1.0, MAX_TOKENS)
    steps = {
        step: Step(
            step, step.partition("_")[0], engine, prompt, sampling, 0, "faces", {source: source for source in inputs}
        )
        for step, (engine, inputs) in graph.items()
    }
    read = {source for _, inputs in graph.values() for source in inputs}
    cells = tuple(
        Cell(last, "m", "s", "faces", "j", ScorerSpec("strict"), True, False, last, (last,), ancestry(graph, last), {})
        for last in graph
        if last not in read
    )
    return Plan("test", engines, {"faces": DatasetSpec("faces", "faces", None, num_rows, False)}, steps, cells)


def ancestry(graph: Graph, step: str) -> tuple[str, ...]:
    """A step and all that it needs, inputs first."""
    needed = {step}
    for other in reversed(graph):
        if other in needed:
            needed.update(graph[other][1])
    return tuple(other for other in graph if other in needed)


def profile(
    key: str,
    graph: Graph,
    *,
    gpus: int = 1,
    load_s: float = 30.0,
    tokens_per_s: float = 40.0,
    capacity: int = 8,
    most: int | None = None,
) -> EngineProfile:
    """An engine; without GPUs, it needs nothing."""
    need = Need((Resources(1, gpus),)) if gpus else Need()
    tokens = {step: MEAN_TOKENS for step, (engine, _) in graph.items() if engine == key}
    return EngineProfile(key, need, load_s, tokens_per_s, capacity, most, tokens)


def work_of(plan: Plan, num_rows: int, slice_rows: int, done: Mapping[str, set[int]] = {}) -> dict[str, StepWork]:
    """Work that is left; `done` names slices by step."""
    work = {}
    for step in plan.steps:
        todo = [slice_ for slice_ in cut(step, num_rows, slice_rows) if slice_.index not in done.get(step, ())]
        work[step] = StepWork(num_rows, num_rows - sum(slice_.num_rows for slice_ in todo), 0, tuple(todo))
    return work


def nodes_of(gpus: Sequence[int], late_s: Mapping[int, float] = {}) -> list[tuple[float, Node]]:
    """Nodes by their GPUs; some of them join later."""
    return [
        (late_s.get(place, 0.0), Node(f"n{place}", f"box{place}", Resources(16, count)))
        for place, count in enumerate(gpus)
    ]


def case_of(
    graph: Graph = TWO_MODELS,
    *,
    num_rows: int = 64,
    slice_rows: int = 8,
    gpus: Sequence[int] = (2, 2),
    late_s: Mapping[int, float] = {},
    changes: Mapping[str, Mapping[str, int]] = {},
    failing: float = 0.0,
    seed: int = 0,
) -> Case:
    """A case with everything to do; `changes` are keywords of `profile` by engine."""
    plan = plan_of(graph, num_rows)
    profiles = {key: profile(key, graph, **changes.get(key, {})) for key in plan.engines}
    world = World(nodes_of(gpus, late_s), profiles, 0.5, failing, seed)
    return Case.draw(plan, work_of(plan, num_rows, slice_rows), world)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to six steps on up to four engines; each reads up to two earlier ones that do not judge."""
    graph: dict[str, tuple[str, tuple[str, ...]]] = {}
    for number in range(draw(st.integers(1, 6))):
        sources = [step for step in graph if not step.startswith("verdict")]
        inputs = draw(st.lists(st.sampled_from(sources), max_size=2, unique=True)) if sources else []
        name = draw(st.sampled_from(["answer", "verdict"])) if inputs else "answer"
        graph[f"{name}_{number}"] = (draw(st.sampled_from("abcd")), tuple(inputs))
    return graph


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Sweeps, some begun, on small clusters of unequal nodes, some of them late; replicas die in some."""
    graph = draw(graphs())
    num_rows, slice_rows = draw(st.integers(1, 60)), draw(st.integers(1, 20))
    gpus = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    plan = plan_of(graph, num_rows)
    profiles = {
        key: profile(
            key,
            graph,
            gpus=draw(st.integers(0, max(gpus))),
            load_s=draw(st.floats(0.5, 200)),
            tokens_per_s=draw(st.floats(5, 5000)),
            capacity=draw(st.integers(1, 32)),
            most=draw(st.none() | st.integers(1, 3)),
        )
        for key in plan.engines
    }
    slices = st.sets(st.integers(0, (num_rows - 1) // slice_rows))
    work = work_of(plan, num_rows, slice_rows, {step: draw(slices) for step in graph if draw(st.integers(0, 3)) == 0})
    late_s = {place: draw(st.floats(0, 300)) for place in range(len(gpus)) if draw(st.booleans())}
    world = World(
        nodes_of(gpus, late_s),
        profiles,
        draw(st.floats(0, 1.5)),
        draw(st.sampled_from([0.0, 0.1, 0.5])),
        draw(st.integers(0, 99)),
    )
    return Case.draw(plan, work, world)

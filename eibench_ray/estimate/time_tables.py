"""The estimate of a plan's time: for people as tables, for programs as plain values."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from eibench_ray.estimate.fitted_time import EngineTime
from eibench_ray.estimate.time_estimate import TimeEstimate
from eibench_ray.estimate.time_range import EXPECTED, HIGH, LOW, MEASURED, Range
from eibench_ray.plan.expected_tokens import SHARE_OF_MAX_TOKENS
from eibench_ray.plan.graph import EngineSpec, Plan
from eibench_ray.terminal.fitting_table import Column, FittingTable
from eibench_ray.visible_text import in_line, in_page, list_some

if TYPE_CHECKING:
    from rich.console import RenderableType

HOUR_S = 3600.0
_MINUTE_S = 60.0

_ASSUMED = (
    f"What no run has measured is as the configuration expects it (model.expect): replies of expect.tokens_per_row, "
    f"else of {SHARE_OF_MAX_TOKENS:.0%} of max_tokens, and {EXPECTED.loss - 1:.0%} lost to waiting. In brackets the "
    f"best and the worst case: speeds {LOW.speed:g} times as high and as low, loads {HIGH.load:g} times as short and "
    f"as long, {LOW.loss - 1:.0%} and {HIGH.loss - 1:.0%} lost; of measured engines, speeds "
    f"{MEASURED[LOW].speed - 1:.0%} higher and lower."
)
ON_CORES = (
    "The large options expect the speed of a GPU: where model.expect is not of this machine's cores, neither are these "
    "figures. For nodes with GPUs, give --nodes."
)


def estimates_to_json(plan: Plan, estimates: Sequence[TimeEstimate]) -> list[dict[str, Any]]:
    """Plain values, one object per cluster: the one that is expected, then others to compare it with."""
    return [
        {
            "nodes": len(estimate.nodes),
            "gpus_per_node": estimate.nodes[0].total.gpus,
            "gpu_memory_gb": estimate.nodes[0].gpu_memory_gb or None,
            f"{estimate.unit}s": estimate.num_units,
            "wall_clock_s": asdict(estimate.wall_clock_s),
            f"{estimate.unit}_part_s": asdict(estimate.until_free_s),
            f"{estimate.unit}_hours": asdict(estimate.used_s.times(1 / HOUR_S)),
            f"{estimate.unit}_hours_held": asdict(estimate.held_s.times(1 / HOUR_S)),
            "cost": asdict(cost) if (cost := estimate.cost(estimate.used_s)) else None,
            "cost_held": asdict(cost) if (cost := estimate.cost(estimate.held_s)) else None,
            "loads": _num_loads(plan, estimate),
            "engines": {key: asdict(engine) for key, engine in estimate.engines.items()},
            "critical_path_s": estimate.path_s,
            "critical_path": [asdict(leg) | {"name": plan.engines[leg.engine].name} for leg in estimate.path],
            "misfits": dict(estimate.misfits),
            "measured": {
                key: {"run": one.run, "at": one.at, "hardware": one.hardware} for key, one in estimate.measured.items()
            },
            "assumed": {"low": asdict(LOW), "expected": asdict(EXPECTED), "high": asdict(HIGH)},
        }
        for estimate in estimates
    ]


def summarise_estimates(plan: Plan, estimates: Sequence[TimeEstimate]) -> Iterator[tuple[str, str]]:
    """The answer in a few words: how long it takes, how many GPU-hours, and what these cost; nothing to do says so."""
    expected = estimates[0] if estimates else None
    if expected is None or not (expected.engines or expected.misfits):
        yield "Time", "none: nothing is left to ask"
        return
    if expected.engines:
        times = (f"{show_span(one.wall_clock_s)} on {describe_nodes(one)}" for one in estimates)
        yield "Time", "; ".join(times)
        unit = _unit(expected)
        kept = f"with all {unit}s kept to the end"
        if expected.is_freed:
            parts = (show_span(one.until_free_s) for one in estimates)
            yield "", f"of it until no {unit} is needed any more: {'; '.join(parts)}; endpoints go on without"
            kept = f"with all {unit}s kept until then"
        used, held = (span.times(1 / HOUR_S) for span in (expected.used_s, expected.held_s))
        yield (
            f"{unit[0].upper()}{unit[1:]}-hours",
            f"{_amount(used)} of loads and work; {_amount(held)} {kept}",
        )
        if (cost := expected.cost(expected.used_s)) and (cost_held := expected.cost(expected.held_s)):
            yield "GPU cost", f"{_amount(cost)} for loads and work; {_amount(cost_held)} {kept}"
        elif expected.unit == "gpu":
            yield "GPU cost", "not known: set cluster.price_per_gpu_hour"
        yield "Speeds", "; ".join(describe_speeds(plan, expected))
    for misfit in expected.misfits.values():
        yield "Does not fit", f"{misfit}; the time above is without it, and without what reads from it"


def describe_speeds(plan: Plan, estimate: TimeEstimate) -> Iterator[str]:
    """Says where the speeds come from: the run that has measured an engine, or what the configuration expects."""
    names: dict[str, list[str]] = {}
    for key in estimate.engines:
        if (one := estimate.measured.get(key)) is None:
            source = "as model.expect has them: no run has measured them"
        else:
            day = time.strftime("%Y-%m-%d", time.localtime(one.at))
            source = f"measured in run {one.run} on {day}" + (f" ({one.hardware})" if one.hardware else "")
        names.setdefault(source, []).append(plan.engines[key].name)
    # Where all are of one kind, it need not be said of whom.
    for source, engines in names.items():
        yield in_line(source if len(names) == 1 else f"{list_some(list(dict.fromkeys(engines)), 3)} {source}")


def render_estimates(plan: Plan, estimates: Sequence[TimeEstimate]) -> Iterator[RenderableType]:
    """Tables of what each engine takes, of all of it on each cluster, the longest chain, and the assumptions."""
    if not (estimates and (estimates[0].engines or estimates[0].misfits)):
        return
    expected = estimates[0]
    if loaded := _loaded(plan, estimates):
        yield _engines_table(loaded, estimates)
        if line := describe_unpinned(loaded):
            yield line
    for misfit in expected.misfits.values():
        yield f"It does not fit: {in_page(misfit)}. What follows leaves it out, and what reads from it."
    if not expected.engines:
        return
    yield _totals_table(plan, estimates)
    yield f"Longest chain of loads and steps, {show_time(expected.path_s)}: {' > '.join(_legs(plan, expected))}."
    yield _ASSUMED
    if is_planned_for_cores(plan, estimates):
        yield ON_CORES


def describe_unpinned(specs: Iterable[EngineSpec]) -> str | None:
    """Names the engines that load whatever a branch of the hub is, and the remedy; None where none does."""
    names = [in_line(spec.name) for spec in specs if not spec.traits.is_pinned]
    names += [in_line(adapter.name) for spec in specs for adapter in spec.adapters if not adapter.is_pinned]
    if not names:
        return None
    return (
        f"Not pinned: {', '.join(names)}. Their weights are what the hub's branch is when they are fetched; rows name "
        f"the commit. Set the model's engine.revision to it for figures that are to be published."
    )


def is_planned_for_cores(plan: Plan, estimates: Sequence[TimeEstimate]) -> bool:
    """Whether models that expect a GPU are planned for this machine's cores."""
    is_here = bool(estimates) and estimates[0].unit == "core"
    return is_here and any(spec.traits.is_language_model for spec in plan.engines.values())


def _loaded(plan: Plan, estimates: Sequence[TimeEstimate]) -> list[EngineSpec]:
    """The engines that are to be loaded."""
    todo = estimates[0].engines.keys() | estimates[0].misfits.keys()
    return [spec for key, spec in plan.engines.items() if spec.is_load and key in todo]


def _engines_table(shown: Sequence[EngineSpec], estimates: Sequence[TimeEstimate]) -> FittingTable:
    """A line per engine that is to be loaded: its replicas and its memory."""
    columns = [Column("engine", [in_line(spec.name) for spec in shown], is_name=True)]
    for heading, estimate in zip(("replicas", "on twice\nthe nodes"), estimates, strict=False):
        engines = [estimate.engines.get(spec.key) for spec in shown]
        columns.append(Column(heading, [f"{engine.replicas:,}" if engine else "-" for engine in engines]))
    times = [_times(estimates[0].engines.get(spec.key)) for spec in shown]
    columns += [
        Column("load", [load for load, _ in times]),
        Column("work of\none replica", [work for _, work in times]),
    ]
    if any(spec.num_gpus for spec in shown):
        memory = [list(_memory(spec)) for spec in shown]
        headings = ("weights", "KV of one\nsequence", "each GPU\nneeds", "each GPU\nhas", "fits")
        columns += [Column(heading, [row[at] for row in memory]) for at, heading in enumerate(headings)]
        sources = dict.fromkeys(spec.memory.gpus_from for spec in shown if spec.memory)
        taken = f"; GPUs as of {', '.join(sources)}" if sources else ""
        return FittingTable(columns, title=f"Engines to load, memory in GB{taken}")
    return FittingTable(columns, title="Engines to load")


def _totals_table(plan: Plan, estimates: Sequence[TimeEstimate]) -> FittingTable:
    """A column per cluster."""
    unit = _unit(estimates[0])
    rows = {
        "wall-clock time": [show_span(one.wall_clock_s) for one in estimates],
        **(
            {f"until no {unit} is needed": [show_span(one.until_free_s) for one in estimates]}
            if any(one.is_freed for one in estimates)
            else {}
        ),
        f"{unit}-hours of loads and work": [_amount(one.used_s.times(1 / HOUR_S)) for one in estimates],
        f"{unit}-hours, all {unit}s kept": [_amount(one.held_s.times(1 / HOUR_S)) for one in estimates],
    }
    if estimates[0].price is not None:
        costs = [(estimate.cost(estimate.used_s), estimate.cost(estimate.held_s)) for estimate in estimates]
        rows["cost of loads and work"] = [_amount(cost) for cost, _ in costs if cost]
        rows["cost, all GPUs kept"] = [_amount(cost) for _, cost in costs if cost]
    rows["replicas to load"] = [f"{_num_loads(plan, one):,}" for one in estimates]
    rows["longest chain"] = [show_time(one.path_s) for one in estimates]
    columns = [Column("", list(rows), is_name=True)]
    for at, estimate in enumerate(estimates):
        columns.append(Column(describe_nodes(estimate).replace(" x ", "\nx "), [row[at] for row in rows.values()]))
    return FittingTable(columns, title="Wall-clock time and what is used")


def _unit(estimate: TimeEstimate) -> str:
    return "GPU" if estimate.unit == "gpu" else "core"


def describe_nodes(estimate: TimeEstimate) -> str:
    """The cluster in words."""
    node, count = estimate.nodes[0], len(estimate.nodes)
    if estimate.unit == "core":
        return f"{in_line(node.name)}, {node.total.cpus:g} cores"
    return f"{count:,} {'node' if count == 1 else 'nodes'} x {node.total.gpus:g} GPUs of {node.gpu_memory_gb:g} GB"


def _legs(plan: Plan, estimate: TimeEstimate) -> Iterator[str]:
    for leg in estimate.path:
        name = in_line(plan.engines[leg.engine].name)
        copies = f" on {leg.replicas:,} replicas" if leg.replicas > 1 else ""
        words = f"load {name}" if leg.what == "load" else f"{leg.what} by {name}{copies}"
        yield f"{words} ({show_time(leg.seconds)})"


def _num_loads(plan: Plan, estimate: TimeEstimate) -> int:
    """Replicas that would be loaded; a file of recorded predictions is only read."""
    return sum(engine.replicas for key, engine in estimate.engines.items() if plan.engines[key].is_load)


def _times(engine: EngineTime | None) -> tuple[str, str]:
    return (show_time(engine.load_s), show_time(engine.work_s)) if engine else ("-", "-")


def _memory(spec: EngineSpec) -> Iterator[str]:
    """GB of weights, of one sequence's KV cache, of each GPU: needed and there; whether that is enough."""
    memory = spec.memory
    if memory is None:
        return iter("-----" if not spec.num_gpus else "?????")
    known = (memory.weights_gb, memory.kv_gb, memory.gpu_memory_gb, memory.available_gb)
    return iter([*("?" if gb is None else f"{gb:.1f}" for gb in known), "yes" if memory.fits else "no"])


def show_span(span: Range) -> str:
    """A time with its error bar, all in one unit."""
    unit_s, name = _time_unit(span.expected)
    return f"{_amount(span.times(1 / unit_s), name)}"


def _amount(span: Range, unit: str = "") -> str:
    return f"{_number(span.expected)}{unit} ({_number(span.low)} to {_number(span.high)})"


def show_time(seconds: float) -> str:
    """A time in the unit in which it reads best: `35 s`, `4.2 min`."""
    unit_s, name = _time_unit(seconds)
    return f"{_number(seconds / unit_s)}{name}"


def _time_unit(seconds: float) -> tuple[float, str]:
    """The unit in which a time reads best: its seconds and its name."""
    if seconds < 2 * _MINUTE_S:
        return 1.0, " s"
    return (_MINUTE_S, " min") if seconds < 2 * HOUR_S else (HOUR_S, " h")


def _number(value: float) -> str:
    """Two digits: estimates have no more, but for those before the point."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2g}"

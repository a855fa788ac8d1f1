"""What the rest of a plan would take, in words: for people as tables, for programs as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from eibench_ray.config.engines import LoadedEngine
from eibench_ray.plan.expect import SHARE_OF_MAX_TOKENS
from eibench_ray.plan.foresee import EXPECTED, HIGH, LOW, EngineOutlook, Foresight, Span
from eibench_ray.plan.graph import EngineSpec, Plan
from eibench_ray.plan.tables import empty_table
from eibench_ray.visible import in_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

HOUR_S = 3600.0
_MINUTE_S = 60.0

_ASSUMED = (
    f"Estimates from what the configuration expects (model.expect), none of it measured: replies of "
    f"expect.tokens_per_row, else of {SHARE_OF_MAX_TOKENS:.0%} of max_tokens, and {EXPECTED.loss - 1:.0%} lost to "
    f"uneven ends and to waiting. In brackets: speeds {LOW.speed:g} times as high and as low, loads {HIGH.load:g} "
    f"times as short and as long, {LOW.loss - 1:.0%} and {HIGH.loss - 1:.0%} lost."
)
_ON_CORES = (
    "The large options expect the speed of a GPU: where model.expect is not of this machine's cores, neither are these "
    "figures. For nodes with GPUs, give --nodes."
)


def foresight_to_json(plan: Plan, outlook: Sequence[Foresight]) -> list[dict[str, Any]]:
    """Plain values, one object per cluster: the one that is expected, then others to compare it with."""
    return [
        {
            "nodes": len(foresight.nodes),
            "gpus_per_node": foresight.nodes[0].total.gpus,
            "gpu_memory_gb": foresight.nodes[0].gpu_memory_gb or None,
            f"{foresight.unit}s": foresight.num_units,
            "makespan_s": asdict(foresight.makespan_s),
            f"{foresight.unit}_hours": asdict(foresight.used_s.times(1 / HOUR_S)),
            f"{foresight.unit}_hours_held": asdict(foresight.held_s.times(1 / HOUR_S)),
            "cost": asdict(cost) if (cost := foresight.cost(foresight.used_s)) else None,
            "cost_held": asdict(cost) if (cost := foresight.cost(foresight.held_s)) else None,
            "loads": _num_loads(plan, foresight),
            "engines": {key: asdict(engine) for key, engine in foresight.engines.items()},
            "critical_path_s": foresight.path_s,
            "critical_path": [asdict(leg) | {"name": plan.engines[leg.engine].name} for leg in foresight.path],
            "misfits": dict(foresight.misfits),
            "assumed": {"low": asdict(LOW), "expected": asdict(EXPECTED), "high": asdict(HIGH)},
        }
        for foresight in outlook
    ]


def render_foresight(plan: Plan, outlook: Sequence[Foresight]) -> Iterator[RenderableType]:
    """What each engine takes, what all of it takes on each cluster, the critical path, and what was assumed."""
    if not (outlook and (outlook[0].engines or outlook[0].misfits)):
        return
    expected = outlook[0]
    if loaded := _loaded(plan, outlook):
        yield _engines_table(loaded, outlook)
    for misfit in expected.misfits.values():
        yield f"It does not fit: {in_line(misfit)}. What follows leaves it out, and what reads from it."
    if not expected.engines:
        return
    yield _totals_table(plan, outlook)
    yield f"Critical path, {_time(expected.path_s)}: {' > '.join(_legs(plan, expected))}."
    yield _ASSUMED
    if expected.unit == "core" and any(isinstance(spec.config, LoadedEngine) for spec in plan.engines.values()):
        yield _ON_CORES


def _loaded(plan: Plan, outlook: Sequence[Foresight]) -> list[EngineSpec]:
    """The engines that are to be loaded."""
    todo = outlook[0].engines.keys() | outlook[0].misfits.keys()
    return [spec for key, spec in plan.engines.items() if spec.is_load and key in todo]


def _engines_table(shown: Sequence[EngineSpec], outlook: Sequence[Foresight]) -> Table:
    """A line per engine that is to be loaded: its replicas and its memory."""
    from rich.text import Text

    replicas = ["replicas", *("2x nodes" for _ in outlook[1:])]
    owns_gpus = any(spec.num_gpus for spec in shown)
    memory = ["weights", "KV", "needs", "GPU has", "fits"] if owns_gpus else []
    table = empty_table("Loads and memory (GB)", ["engine"], [*replicas, "load", "work of one", *memory])
    for spec in shown:
        engines = [foresight.engines.get(spec.key) for foresight in outlook]
        counts = [f"{engine.replicas:,}" if engine else "-" for engine in engines]
        times = _times(engines[0])
        table.add_row(Text(in_line(spec.name)), *counts, *times, *(_memory(spec) if owns_gpus else ()))
    return table


def _totals_table(plan: Plan, outlook: Sequence[Foresight]) -> Table:
    """A column per cluster."""
    table = empty_table("Foresight", [""], [_describe_nodes(foresight) for foresight in outlook])
    unit = "GPU" if outlook[0].unit == "gpu" else "core"
    table.add_row("makespan", *(_duration(foresight.makespan_s) for foresight in outlook))
    used, held = f"{unit}-hours of loads and work", f"{unit}-hours, all {unit}s kept"
    table.add_row(used, *(_amount(foresight.used_s.times(1 / HOUR_S)) for foresight in outlook))
    table.add_row(held, *(_amount(foresight.held_s.times(1 / HOUR_S)) for foresight in outlook))
    if outlook[0].price is not None:
        costs = [(foresight.cost(foresight.used_s), foresight.cost(foresight.held_s)) for foresight in outlook]
        table.add_row("cost of loads and work", *(_amount(cost) for cost, _ in costs if cost))
        table.add_row("cost, all GPUs kept", *(_amount(cost) for _, cost in costs if cost))
    table.add_row("replicas to load", *(f"{_num_loads(plan, foresight):,}" for foresight in outlook))
    table.add_row("critical path", *(_time(foresight.path_s) for foresight in outlook))
    return table


def _describe_nodes(foresight: Foresight) -> str:
    node, count = foresight.nodes[0], len(foresight.nodes)
    if foresight.unit == "core":
        return f"{in_line(node.name)}, {node.total.cpus:g} cores"
    return f"{count:,} {'node' if count == 1 else 'nodes'} x {node.total.gpus:g} GPUs of {node.gpu_memory_gb:g} GB"


def _legs(plan: Plan, foresight: Foresight) -> Iterator[str]:
    for leg in foresight.path:
        name = in_line(plan.engines[leg.engine].name)
        copies = f" on {leg.replicas:,} replicas" if leg.replicas > 1 else ""
        words = f"load {name}" if leg.what == "load" else f"{leg.what} by {name}{copies}"
        yield f"{words} ({_time(leg.seconds)})"


def _num_loads(plan: Plan, foresight: Foresight) -> int:
    """Replicas that would be loaded; a file of recorded predictions is only read."""
    return sum(engine.replicas for key, engine in foresight.engines.items() if plan.engines[key].is_load)


def _times(engine: EngineOutlook | None) -> tuple[str, str]:
    return (_time(engine.load_s), _time(engine.work_s)) if engine else ("-", "-")


def _memory(spec: EngineSpec) -> Iterator[str]:
    """GB of weights, of one sequence's KV cache, of each GPU: needed and there; whether that is enough."""
    memory = spec.memory
    if memory is None:
        return iter("-----" if not spec.num_gpus else "?????")
    known = (memory.weights_gb, memory.kv_gb, memory.gpu_memory_gb, memory.available_gb)
    return iter([*("?" if gb is None else f"{gb:.1f}" for gb in known), "yes" if memory.fits else "no"])


def _duration(span: Span) -> str:
    """A time with its error bar, all in one unit."""
    unit_s, name = _time_unit(span.expected)
    return f"{_amount(span.times(1 / unit_s), name)}"


def _amount(span: Span, unit: str = "") -> str:
    return f"{_number(span.expected)}{unit} ({_number(span.low)} to {_number(span.high)})"


def _time(seconds: float) -> str:
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

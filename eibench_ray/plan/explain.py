"""What a plan says before anything runs: for people as tables, for programs as one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eibench_ray.plan.graph import Plan, Step

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from eibench_ray.store.resume import StepWork

_TOKENS = "tokens at most"
_STEP_COUNTS = ("rows", "rows_done", "est_tokens")
MAX_STEP_LINES = 60


def plan_to_json(plan: Plan, work: Mapping[str, StepWork], store: str) -> dict[str, Any]:
    """The plan as plain values; `est_tokens` bounds what is left to generate: rows left x max_tokens."""
    engines = []
    for spec in plan.engines.values():
        steps = [step for step in plan.steps.values() if step.engine == spec.key]
        rows_left = sum(_left(work[step.id]) for step in steps)
        engines.append(
            {
                "key": spec.key,
                "name": spec.name,
                "kind": spec.config.kind,
                "device": spec.device,
                "num_gpus": spec.num_gpus,
                "steps": len(steps),
                "requests": sum(work[step.id].num_rows for step in steps),
                "requests_left": rows_left,
                "loads": int(spec.is_load and any(work[step.id].todo for step in steps)),
                "est_tokens": sum(_tokens(step, work[step.id]) for step in steps),
            }
        )
    return {
        "sweep": plan.sweep,
        "store": store,
        "engines": engines,
        "steps": [_step_to_json(plan, step, work[step.id]) for step in plan.steps.values()],
        "cells": [
            {
                "model": cell.model,
                "setting": cell.setting,
                "dataset": cell.dataset,
                "judge": cell.judge,
                "key": cell.key,
                "steps": list(cell.steps),
                "requests": sum(work[step].num_rows for step in cell.steps),
                "requests_done": sum(work[step].num_done for step in cell.steps),
            }
            for cell in plan.cells
        ],
        "requests": plan.num_requests,
        "requests_done": sum(left.num_done for left in work.values()),
        "loads": sum(engine["loads"] for engine in engines),
        "unprepared_datasets": [name for name, spec in plan.datasets.items() if not spec.is_prepared],
    }


def render_plan(plan: Plan, work: Mapping[str, StepWork], store: str) -> Iterator[RenderableType]:
    """The plan as tables: engines, steps, cells, and a line of totals."""
    facts = plan_to_json(plan, work, store)
    engines = _table("Engines", ["engine", "kind", "device"], ["GPUs", "loads", "steps", "requests", "left", _TOKENS])
    for engine in facts["engines"]:
        counts = ("num_gpus", "loads", "steps", "requests", "requests_left", "est_tokens")
        engines.add_row(*_texts(engine, "name", "kind", "device"), *_counts(engine, *counts))
    yield engines
    yield _steps_table(facts["steps"])
    cells = _table("Cells", ["model", "setting", "dataset", "judge", "steps"], [])
    for cell in facts["cells"]:
        used = " ".join(step[:8] for step in cell["steps"])
        cells.add_row(*_texts(cell | {"steps": used}, "model", "setting", "dataset", "judge", "steps"))
    yield cells
    for name in facts["unprepared_datasets"]:
        yield f"{name} is not prepared yet: its rows are what the configuration expects."
    yield (
        f"{len(plan.cells)} cells, {len(plan.steps)} steps, {facts['requests']:,} requests, {facts['requests_done']:,} "
        f"of them in the store, {facts['loads']} loads. Store: {store}"
    )


def _steps_table(steps: Sequence[Mapping[str, Any]]) -> Table:
    """A line per step; where they are too many to read, one per engine, call, dataset and wording."""
    words = ["what", "engine", "dataset", "wording"]
    counts = ["rows", "in the store", _TOKENS]
    if len(steps) <= MAX_STEP_LINES:
        table = _table("Steps", ["step", *words, "reads"], counts)
        for step in steps:
            reads = " ".join(source[:8] for source in step["inputs"].values())
            shown = dict(step) | {"reads": reads, "id": step["id"][:8]}
            names = _texts(shown, "id", "name", "model", "dataset", "wording", "reads")
            table.add_row(*names, *_counts(step, *_STEP_COUNTS))
        return table
    table = _table(f"Steps ({len(steps)}, alike ones together)", words, ["steps", *counts])
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for step in steps:
        alike.setdefault(tuple(step[name] for name in ("name", "model", "dataset", "wording")), []).append(step)
    for group in alike.values():
        total = {name: sum(step[name] for step in group) for name in _STEP_COUNTS} | {"steps": len(group)}
        names = _texts(group[0], "name", "model", "dataset", "wording")
        table.add_row(*names, *_counts(total, "steps", *_STEP_COUNTS))
    return table


def _table(title: str, words: list[str], counts: list[str]) -> Table:
    """An empty table with columns of words and of counts."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    # Cells without padding: with it, the tables of 156 cells take twice as long.
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", padding=0)
    for name in words:
        table.add_column(f"{name} ")
    for name in counts:
        table.add_column(f" {name}", justify="right")
    return table


def _texts(facts: Mapping[str, Any], *names: str) -> Iterator[Text]:
    """Words as they are: no name is read as markup."""
    from rich.text import Text

    return (Text(facts[name]) for name in names)


def _counts(facts: Mapping[str, Any], *names: str) -> Iterator[Text]:
    from rich.text import Text

    return (Text(f"{facts[name]:,}") for name in names)


def _step_to_json(plan: Plan, step: Step, left: StepWork) -> dict[str, Any]:
    return {
        "id": step.id,
        "name": step.name,
        "engine": step.engine,
        "model": plan.engines[step.engine].name,
        "dataset": step.dataset,
        "wording": "official" if step.prompt.is_official else "own",
        "image": step.prompt.image,
        "inputs": dict(step.inputs),
        "rows": left.num_rows,
        "rows_done": left.num_done,
        "est_tokens": _tokens(step, left),
    }


def _left(left: StepWork) -> int:
    return left.num_rows - left.num_done


def _tokens(step: Step, left: StepWork) -> int:
    return _left(left) * step.sampling.max_tokens

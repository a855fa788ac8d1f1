"""Cells that cannot run here: planned like the others, left out of a run, and named with what they lack. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from eibench_ray.plan.graph import Blocker, Cell, Plan
from eibench_ray.visible_text import list_some

if TYPE_CHECKING:
    from eibench_ray.plan.slices import StepWork

_MAX_NAMES = 3


def block_cells(plan: Plan, work: Mapping[str, StepWork], blockers: Mapping[str, Blocker]) -> Plan:
    """The plan whose cells say why they cannot run.

    A cell is blocked by the engine or the adapter of any of its steps that still has rows to ask: what the store has
    needs neither.

    Args:
        plan: the sweep's.
        work: what is left of each step.
        blockers: by the key of an engine or an adapter.
    """
    hindered = {
        step.id: key
        for step in plan.steps.values()
        for key in (step.adapter, step.engine)
        if key is not None and key in blockers and work[step.id].todo
    }
    if not hindered:
        return plan
    cells = []
    for cell in plan.cells:
        keys = dict.fromkeys(hindered[step] for step in cell.steps if step in hindered)
        cells.append(replace(cell, blockers=tuple(blockers[key] for key in keys)))
    return replace(plan, cells=tuple(cells))


def without_blocked(plan: Plan) -> Plan:
    """The part of a plan that can run: the cells that are not blocked, and what they need."""
    cells = tuple(cell for cell in plan.cells if not cell.blockers)
    if len(cells) == len(plan.cells):
        return plan
    needed = {step for cell in cells for step in cell.steps}
    steps = {key: step for key, step in plan.steps.items() if key in needed}
    named = {step.adapter for step in steps.values()}
    engines = {
        key: replace(spec, adapters=tuple(one for one in spec.adapters if one.key in named))
        for key in plan.engines_of(steps)
        for spec in (plan.engines[key],)
    }
    datasets = {cell.dataset for cell in cells}
    return replace(
        plan,
        engines=engines,
        datasets={name: spec for name, spec in plan.datasets.items() if name in datasets},
        steps=steps,
        cells=cells,
    )


def describe_blocked(cells: Iterable[Cell]) -> Iterator[str]:
    """A line per problem: how many cells it blocks, of whom, what they lack, and what to do."""
    for problem, blocked in group_blockers(cells).items():
        num_cells = len({cell.name for _, cell in blocked})
        models = ", ".join(dict.fromkeys(blocker.model for blocker, _ in blocked))
        details = list_some(dict.fromkeys(blocker.detail for blocker, _ in blocked), _MAX_NAMES)
        remedies = "; ".join(dict.fromkeys(blocker.remedy for blocker, _ in blocked))
        yield f"{count_cells(num_cells)} blocked: {problem}: {details} ({models}): {remedies}"


def group_blockers(cells: Iterable[Cell]) -> dict[str, list[tuple[Blocker, Cell]]]:
    """Groups blocked cells by their problem."""
    found: dict[str, list[tuple[Blocker, Cell]]] = {}
    for cell in cells:
        for blocker in cell.blockers:
            found.setdefault(blocker.problem, []).append((blocker, cell))
    return found


def count_cells(number: int) -> str:
    """So many cells, in words."""
    return f"{number:,} cell{'' if number == 1 else 's'}"

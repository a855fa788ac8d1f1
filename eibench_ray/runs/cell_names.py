"""Cells of several runs under names that tell them apart: what one name means in two ways gets a letter. Pure.

    run 1, judge `strict` with its old prompt       strict (A)
    run 2, judge `strict` with its new prompt       strict (B)

A name that means the same in all runs stays as it is, and so a cell that several runs have is one cell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.rows.digests import digest
from eibench_ray.runs.run_record import RunManifest
from eibench_ray.scoring.scored_cell import Contest


@dataclass(frozen=True, slots=True)
class RunCell:
    """A cell of one of several runs."""

    run: int  # the run's number, from 0
    cell: Cell  # the cell, its names with letters where they need them
    answers: str  # what was answered: the same for cells that graded the very same answers
    contest: Contest | None = None  # what its answers are held against
    own_name: str = ""  # the cell's in its run's plan
    runs: tuple[int, ...] = ()  # all runs that have this very cell


def tell_apart(runs: Sequence[tuple[RunManifest, str]]) -> list[RunCell]:
    """The cells of some runs that are not blocked, each once, under names that tell them apart."""
    found: dict[tuple[Hashable, ...], _Found] = {}
    for number, (manifest, root) in enumerate(runs):
        for cell in manifest.plan.cells:
            if not cell.blockers:
                key = cell.name, root, cell.answers, cell.verdicts
                one = _Found(number, manifest.plan, root, cell, (number,))
                if (known := found.get(key)) is not None:
                    # The same cell with a higher limit stands for both.
                    chosen = one if one.num_rows > known.num_rows else known
                    one = replace(chosen, runs=(*known.runs, number))
                found[key] = one
    cells = list(found.values())
    named = _name_all(cells, _AXES)
    if len({one.cell.name for one in named}) < len(named):
        # Nothing in the configuration tells them apart: another version of an engine, say.
        named = _name_all(cells, {**_AXES, "model": lambda one: one.run})
    return named


@dataclass(frozen=True, slots=True)
class _Found:
    """A cell under its own name."""

    run: int
    plan: Plan
    root: str
    cell: Cell
    runs: tuple[int, ...]

    @property
    def num_rows(self) -> int:
        """Samples that it asks."""
        return self.plan.datasets[self.cell.dataset].num_rows


def _name_all(cells: Sequence[_Found], axes: Mapping[str, Callable[[_Found], Hashable]]) -> list[RunCell]:
    names: dict[str, list[str]] = {}
    for axis, mean in axes.items():
        meanings: dict[tuple[str, str], dict[Hashable, int]] = {}
        for one in cells:
            meanings.setdefault((one.cell.dataset, getattr(one.cell, axis)), {}).setdefault(mean(one), one.run)
        names[axis] = []
        for one in cells:
            name = getattr(one.cell, axis)
            first = meanings[one.cell.dataset, name]
            names[axis].append(f"{name} ({letter_of(first[mean(one)])})" if len(first) > 1 else name)
    return [
        RunCell(
            one.run,
            replace(one.cell, model=model, setting=setting, judge=judge),
            _in_store(one.root, one.cell.answers),
            _contest_of(one, judge),
            one.cell.name,
            one.runs,
        )
        for one, model, setting, judge in zip(cells, names["model"], names["setting"], names["judge"], strict=True)
    ]


def _in_store(root: str, steps: Iterable[str]) -> str:
    return "/".join([root, *steps])


def _contest_of(one: _Found, judge: str) -> Contest | None:
    """The other side of a cell whose answers are held against a baseline's; None for other cells.

    Args:
        one: the cell.
        judge: the name that its judge has among the runs, perhaps with a letter.
    """
    if (baseline := one.cell.baseline) is None:
        return None
    return Contest(
        judge=baseline.judge + judge.removeprefix(one.cell.judge),
        model=baseline.model,
        setting=baseline.setting,
        answers=_in_store(one.root, baseline.answers),
        verdicts=frozenset(_in_store(one.root, [step]) for step in one.cell.verdicts),
    )


def letter_of(run: int) -> str:
    """The letter of a run, from 0: A to Z, then A1 and so on."""
    return f"{chr(ord('A') + run % 26)}{run // 26 or ''}"


def _model(one: _Found) -> Hashable:
    """Identity of the model; in another store the same model has answered anew."""
    return _digest(one.cell.config["model"]), one.root


def _setting(one: _Found) -> Hashable:
    """Identity of the setting, whoever answers."""
    setting = {"repeats": 1, **one.cell.config["setting"]}  # records of earlier versions do not say it
    return _digest([setting, *(one.cell.config[name] for name in ("captioner", "asker", "seed"))])


def _judge(one: _Found) -> Hashable:
    """Identity of the judge and of its prompt, of a jury of those of its members."""
    asked = [
        one.plan.steps[step] for (_, repeat), step in zip(one.cell.seats, one.cell.verdicts, strict=False) if not repeat
    ]
    return _digest(one.cell.config["judge"]), *((step.prompt, step.sampling, step.accept) for step in asked)


def _digest(config: Any) -> str:
    return digest(json.loads(json.dumps(config, default=str)))


_AXES: Mapping[str, Callable[[_Found], Hashable]] = {"model": _model, "setting": _setting, "judge": _judge}

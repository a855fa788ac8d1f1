"""Cells and sweeps as trackers know them: under which key, which name and which tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.step_names import with_mark
from eibench_ray.report.leaderboard_row import PARTIAL, LeaderboardRow
from eibench_ray.rows.digests import digest
from eibench_ray.tracking.tracker import RunFacts
from eibench_ray.versions import __version__

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def sweep_facts(plan: Plan) -> RunFacts:
    """The sweep's own tracked run; a sweep with another cell has another."""
    names = {axis: sorted({str(getattr(cell, axis)) for cell in plan.cells}) for axis in _AXES}
    config = {f"{axis}s": found for axis, found in names.items()}
    return RunFacts(
        key=sweep_key(plan),
        sweep=plan.sweep,
        name=f"sweep {plan.sweep}",
        config={**config, "cells": sorted(cell.name for cell in plan.cells), "eibench_ray": __version__},
        num_rows=sum(plan.datasets[step.dataset].num_rows for step in plan.steps.values()),
        tags=tuple(name for found in names.values() for name in found),
    )


def sweep_key(plan: Plan) -> str:
    """The key of the sweep's tracked run."""
    return digest([plan.sweep, "sweep", sorted(cell.key for cell in plan.cells)])


def cell_facts(plan: Plan, cell: Cell, row: LeaderboardRow | None = None) -> RunFacts:
    """A cell's tracked run, its name with the marks of the leaderboard and the version of its judge."""
    model = with_mark(cell.model, plan.answer_source(cell))
    judge = with_mark(f"{cell.judge}@{judge_version(plan, cell)}", plan.judge_source(cell))
    partial = f" {PARTIAL}" if row is not None and row.is_partial else ""
    return RunFacts(
        key=cell.key,
        sweep=plan.sweep,
        name=f"{model}/{cell.setting}/{cell.dataset}/{judge}{partial}",
        config=cell.config,
        num_rows=plan.datasets[cell.dataset].num_rows * len(cell.steps),
        parent=sweep_key(plan),
        tags=tuple(str(getattr(cell, axis)) for axis in _AXES),
    )


_AXES = ("model", "setting", "dataset", "judge")


def judge_version(plan: Plan, cell: Cell) -> str:
    """A short digest of how a cell is judged: a judge with another prompt, model or rule has another, under any name.

    Tuning of the judge's engine is no part of it.
    """
    asked = {
        digest([step.engine, step.adapter, *map(_set_fields, (step.prompt, step.sampling, step.accept))])
        for step in (plan.steps[step_id] for step_id in cell.verdicts)
    }
    rule = _without_models(json.loads(json.dumps(cell.config.get("judge", {}), default=str)))
    return digest([rule, sorted(asked)], size=2)


def _set_fields(record: DataclassInstance | None) -> dict[str, Any]:
    """The fields that differ from their defaults: one that a later version adds changes no digest."""
    if record is None:
        return {}
    values = {one.name: (getattr(record, one.name), one.default) for one in fields(record)}
    return {name: json.loads(json.dumps(value, default=str)) for name, (value, left) in values.items() if value != left}


def _without_models(judge: Mapping[str, Any]) -> dict[str, Any]:
    """A judge's section without who is asked, whom its steps name by what he is."""
    members = {key: _without_models(member) for key, member in (judge.get("members") or {}).items()}
    return {key: value for key, value in judge.items() if key not in ("model", "name", "members")} | {
        "members": members
    }

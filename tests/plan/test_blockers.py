"""Cells that cannot run here: which they are, what of a plan is left without them, and how they are described."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from eibench_ray.plan.blockers import block_cells, describe_blocked, without_blocked
from eibench_ray.plan.graph import Blocker, Cell, Plan
from eibench_ray.plan.slices import StepWork, cut

if TYPE_CHECKING:
    from conftest import Planner


def blocked(plan: Plan, models: Iterable[str], done: Iterable[str] = ()) -> Plan:
    """The plan where some models have no key, and the steps of some names have nothing left to ask."""
    work = {
        step.id: StepWork(3, 0, 0, () if step.name in done else tuple(cut(step.id, 3, 2)))
        for step in plan.steps.values()
    }
    blockers = {
        key: Blocker(spec.name, "no key", f"KEY of {spec.name}", "export it")
        for key, spec in plan.engines.items()
        if spec.name in models
    }
    return block_cells(plan, work, blockers)


def test_a_cell_is_blocked_by_each_of_its_engines_that_has_rows_to_ask(planner: Planner) -> None:
    plan, both = planner.plan(planner.config()), ["eye", "judge_model"]
    for done, models in (((), both), (("answer",), ["judge_model"]), (("answer", "verdict"), [])):
        [cell] = blocked(plan, both, done).cells
        assert [blocker.model for blocker in cell.blockers] == models


def test_without_what_is_blocked_the_plan_is_that_of_the_other_cells(planner: Planner) -> None:
    planner.write_dataset("others")
    ear = {"model.name": "ear", "model.engine.source": "me/ear"}
    plan = planner.plan(planner.config(), planner.config(ear, dataset="others"))
    assert without_blocked(blocked(plan, ["ear"])) == planner.plan(planner.config())
    assert without_blocked(plan) is plan


@pytest.mark.parametrize(
    ("details", "said"),
    [
        (["K"], "1 cell blocked: no key: K (m0): export it"),
        (["K", "K"], "2 cells blocked: no key: K (m0, m1): export it"),
        (["A", "B", "C"], "3 cells blocked: no key: A, B, C (m0, m1, m2): export it"),
        (["A", "B", "C", "D", "E"], "5 cells blocked: no key: A, B, C and 2 more (m0, m1, m2, m3, m4): export it"),
    ],
)
def test_one_line_says_what_all_cells_with_a_problem_lack(planner: Planner, details: list[str], said: str) -> None:
    [cell] = planner.plan(planner.config()).cells

    def lacking(model: str, detail: str) -> Cell:
        return replace(cell, model=model, blockers=(Blocker(model, "no key", detail, "export it"),))

    assert list(describe_blocked(lacking(f"m{number}", detail) for number, detail in enumerate(details))) == [said]

"""Summary of a plan before anything runs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.estimate.plan_json import plan_to_json
from eibench_ray.estimate.plan_page import render_plan
from eibench_ray.estimate.time_estimate import estimate_time
from eibench_ray.plan.blockers import block_cells
from eibench_ray.plan.expected_tokens import SHARE_OF_MAX_TOKENS
from eibench_ray.plan.graph import Blocker, Plan
from eibench_ray.plan.slices import Slice, StepWork
from eibench_ray.plan.step_names import titles

if TYPE_CHECKING:
    from conftest import Planner


CLUSTER = ClusterConfig(name="local")


def half_done(plan: Plan) -> dict[str, StepWork]:
    """Answers are done, and one of three verdicts."""
    left = {"answer": 3, "caption": 3, "verdict": 1}
    return {
        step.id: StepWork(3, left[step.name], 0, () if left[step.name] == 3 else (Slice(step.id, 0, 0, 3),))
        for step in plan.steps.values()
    }


def test_what_is_left_is_counted_by_engine_step_and_cell(planner: Planner) -> None:
    plan = planner.plan(planner.config({"judge.sampling.max_tokens": 10}))
    work = half_done(plan)
    facts = plan_to_json(plan, work, "/store", estimate_time(plan, work, CLUSTER, 2))
    assert facts["store"] == "/store"
    assert (facts["requests"], facts["requests_done"], facts["loads"]) == (6, 4, 1)
    assert {engine["name"]: engine["loads"] for engine in facts["engines"]} == {"eye": 0, "judge_model": 1}
    assert {engine["name"]: engine["requests_left"] for engine in facts["engines"]} == {"eye": 0, "judge_model": 2}
    assert {engine["name"]: engine["est_replicas"] for engine in facts["engines"]} == {"eye": 0, "judge_model": 1}
    counts = ("rows", "rows_done", "est_tokens", "expected_tokens")
    assert {step["name"]: tuple(step[count] for count in counts) for step in facts["steps"]} == {
        "answer": (3, 3, 0, 0),
        "verdict": (3, 1, 2 * 10, 2 * 10 * SHARE_OF_MAX_TOKENS),
    }
    assert facts["expected_tokens"] == 2 * 10 * SHARE_OF_MAX_TOKENS
    assert [(cell["requests"], cell["requests_done"]) for cell in facts["cells"]] == [(6, 4)]


def test_repeats_that_cannot_differ_are_told(planner: Planner) -> None:
    warm = {"judge.name": "warm", "judge.repeats": 2, "judge.sampling.temperature": 0.7}
    for changes, told in (({"judge.repeats": 2}, ["judge"]), ({}, []), (warm, [])):
        plan = planner.plan(planner.config(changes))
        assert plan_to_json(plan, half_done(plan), "/store", [])["greedy_repeats"] == told
        said = " ".join(part for part in render_plan(plan, half_done(plan), "/store", []) if isinstance(part, str))
        assert ("Repeats of judge are asked at temperature 0" in said) == bool(told)


def test_the_json_names_what_reads_what(planner: Planner, echo: dict[str, Any]) -> None:
    plan = planner.plan(planner.config({"captioner": echo}, setting="told"))
    steps = {step["name"]: step for step in plan_to_json(plan, half_done(plan), "/store", [])["steps"]}
    assert steps["answer"]["inputs"] == {"caption": steps["caption"]["id"]}
    assert steps["verdict"]["inputs"] == {"answer": steps["answer"]["id"]}
    assert [steps[name]["image"] for name in ("caption", "answer", "verdict")] == [True, True, False]
    assert {step["prompt_source"] for step in steps.values()} == {"own"}


def shown(plan: Plan, width: int, *, is_full: bool, work: dict[str, StepWork] | None = None) -> str:
    """The printed text in a terminal of so many columns."""
    out = io.StringIO()
    console = Console(file=out, width=width)
    known = work or half_done(plan)
    for part in render_plan(plan, known, "/store", estimate_time(plan, known, CLUSTER, 2), is_full=is_full):
        console.print(part, markup=False)
    assert max(map(len, out.getvalue().splitlines())) <= width
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_plan_is_one_screen_that_begins_with_the_answer(official: Planner, width: int) -> None:
    changes: dict[str, Any] = {"judge.prompt": "{{ answer }}?"}
    cells = [official.config({"judge.name": f"[red]{number}", **changes}) for number in range(30)]
    text = shown(official.plan(official.config(), *cells), width, is_full=False)
    lines = [line.rstrip() for line in text.splitlines()]
    assert len(lines) <= 24
    assert lines[0] == "test: 31 cells (model x setting x dataset x judge)"
    assert lines[1].startswith("Time        ")
    assert lines[2].startswith("Core-hours  ")
    assert "Requests    9, 5 of them in the store; about 820 tokens to come" in lines
    assert "--full shows all steps and cells, memory, and what the estimates rest on." in lines
    assert "verdict by" not in text


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_full_plan_names_every_step_and_cell_and_fits_the_terminal(official: Planner, width: int) -> None:
    plan = official.plan(official.config(), official.config({"judge.name": "[red]", "judge.prompt": "{{ answer }}?"}))
    text = shown(plan, width, is_full=True)
    words = " ".join(text.split())
    assert "eye look faces [red] 6 4" in words
    for title in titles(plan).values():
        assert f"{title} " in text
    assert "answer by eye (look) official 3 3" in words
    assert "verdict by [red] on eye (look) built-in 3 1" in words
    assert "own" not in words.split()


def test_what_is_blocked_is_part_of_the_answer(planner: Planner) -> None:
    plan = planner.plan(planner.config(), planner.config({"judge.name": "other", "judge.prompt": "{{ answer }}?"}))
    work = half_done(plan)
    blocker = Blocker("judge_model", "no key", "OPENAI_API_KEY", "export it")
    blocked = block_cells(plan, work, {plan.steps[plan.cells[0].verdicts[0]].engine: blocker})
    text = " ".join(shown(blocked, 100, is_full=False, work=work).split())
    assert "Blocked 2 of 2 cells, 4 requests: a run leaves them out" in text
    assert "2 cells: no key (judge_model): export it" in text
    assert "OPENAI_API_KEY" in shown(blocked, 100, is_full=True, work=work)


def test_a_plan_with_nothing_left_says_so(planner: Planner) -> None:
    plan = planner.plan(planner.config())
    done = {step: StepWork(3, 3, 0, ()) for step in plan.steps}
    assert "none: nothing is left to ask" in shown(plan, 80, is_full=False, work=done)


def test_the_recordings_of_one_model_share_a_line(planner: Planner) -> None:
    planner.write_dataset("others")
    replay = {"model.engine": {"kind": "replay", "predictions": "predictions"}}
    plan = planner.plan(planner.config(replay), planner.config(replay, dataset="others"))
    assert "eye x 2 replay 0 0 6 0 0 0" in " ".join(shown(plan, 100, is_full=False).split())
    facts = plan_to_json(plan, half_done(plan), "/store", [])
    assert [engine["name"] for engine in facts["engines"]].count("eye") == 2


def test_an_endpoint_is_no_load_and_generates(planner: Planner) -> None:
    endpoint = {"kind": "openai", "endpoint": "openai", "base_url": "https://here/v1", "model": "gpt"}
    plan = planner.plan(planner.config({"judge.model.engine": endpoint, "judge.sampling.max_tokens": 10}))
    work = half_done(plan)
    facts = plan_to_json(plan, work, "/store", estimate_time(plan, work, CLUSTER, 2))
    assert (facts["loads"], facts["expected_tokens"]) == (0, 2 * 10 * SHARE_OF_MAX_TOKENS)
    [estimate] = facts["estimates"]
    assert (estimate["loads"], [engine["replicas"] for engine in estimate["engines"].values()]) == (0, [1])
    assert not estimate["misfits"]


def test_the_memory_of_an_engine_is_null_where_it_is_not_known(planner: Planner) -> None:
    plan = planner.plan(planner.config({"model.expect": {"memory_gb": 14.0}}), device="cuda")
    memory = {engine["name"]: engine["memory"] for engine in plan_to_json(plan, half_done(plan), "", [])["engines"]}
    assert memory["judge_model"] is None
    assert (memory["eye"]["weights_gb"], memory["eye"]["kv_gb"], memory["eye"]["source"]) == (14.0, None, "expect")
    assert memory["eye"]["fits"] is True

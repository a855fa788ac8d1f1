"""What a plan says before anything runs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from rich.console import Console

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.plan.expect import SHARE_OF_MAX_TOKENS
from eibench_ray.plan.explain import plan_to_json, render_plan
from eibench_ray.plan.foresee import foresee
from eibench_ray.plan.graph import Plan
from eibench_ray.store.resume import Slice, StepWork

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
    facts = plan_to_json(plan, work, "/store", foresee(plan, work, CLUSTER, 2))
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
    assert {step["wording"] for step in steps.values()} == {"own"}


def test_the_tables_say_the_same_and_fit_a_terminal(official: Planner) -> None:
    plan = official.plan(official.config(), official.config({"judge.name": "[red]", "judge.prompt": "{{ answer }}?"}))
    out = io.StringIO()
    console = Console(file=out, width=100)
    work = half_done(plan)
    for part in render_plan(plan, work, "/store", foresee(plan, work, CLUSTER, 2)):
        console.print(part, markup=False)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "official" in text
    assert "eye look faces [red]" in " ".join(text.split())
    assert "2 cells, 3 steps, 9 requests, 5 of them in the store, 1 loads. About 820 tokens to come." in text
    for step in plan.steps:
        assert step[:8] in text


def test_the_recordings_of_one_model_share_a_line(planner: Planner) -> None:
    planner.write_dataset("others")
    replay = {"model.engine": {"kind": "replay", "predictions": "predictions"}}
    plan = planner.plan(planner.config(replay), planner.config(replay, dataset="others"))
    work = half_done(plan)
    out = io.StringIO()
    for part in render_plan(plan, work, "/store", []):
        Console(file=out, width=100).print(part, markup=False)
    assert "eye x 2 replay cpu 0 0 2 6 0 0 0" in " ".join(out.getvalue().split())
    assert [engine["name"] for engine in plan_to_json(plan, work, "/store", [])["engines"]].count("eye") == 2


def test_an_endpoint_is_no_load_and_generates(planner: Planner) -> None:
    endpoint = {"kind": "openai", "endpoint": "openai", "base_url": "https://here/v1", "model": "gpt"}
    plan = planner.plan(planner.config({"judge.model.engine": endpoint, "judge.sampling.max_tokens": 10}))
    work = half_done(plan)
    facts = plan_to_json(plan, work, "/store", foresee(plan, work, CLUSTER, 2))
    assert (facts["loads"], facts["expected_tokens"]) == (0, 2 * 10 * SHARE_OF_MAX_TOKENS)
    [foresight] = facts["foresight"]
    assert (foresight["loads"], [engine["replicas"] for engine in foresight["engines"].values()]) == (0, [1])
    assert not foresight["misfits"]


def test_the_memory_of_an_engine_is_null_where_it_is_not_known(planner: Planner) -> None:
    plan = planner.plan(planner.config({"model.expect": {"memory_gb": 14.0}}), device="cuda")
    memory = {engine["name"]: engine["memory"] for engine in plan_to_json(plan, half_done(plan), "", [])["engines"]}
    assert memory["judge_model"] is None
    assert (memory["eye"]["weights_gb"], memory["eye"]["kv_gb"], memory["eye"]["source"]) == (14.0, None, "expect")
    assert memory["eye"]["fits"] is True

"""Engine keys, step ids and cell keys of every option in conf/: they decide what a store has already.

After a change that is meant to change them: `pytest tests/goldens --write-goldens`, and a line in the CHANGELOG.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from eibench_ray.config.hydra_composer import composing
from eibench_ray.config.load import to_config, with_expected_cluster
from eibench_ray.config.options_folder import config_folder
from eibench_ray.estimate.plan_json import plan_to_json
from eibench_ray.runs.planning import plan_sweep

GROUPS = ("model", "setting", "dataset", "judge", "cluster")
BASE = {"model": "echo", "setting": "user_question", "dataset": "demo", "judge": "echo", "tracking": "none"}
# What a person must choose, and a choice.
CHOICES: dict[str, Sequence[str]] = {
    "model/_vllm": (
        "model.name=mine",
        "model.sees_image=true",
        "model.engine.source=me/mine",
        "model.engine.max_model_len=512",
    ),
    "model/_transformers": ("model.name=mine", "model.sees_image=true", "model.engine.source=me/mine"),
    "model/_openai": (
        "model.name=mine",
        "model.sees_image=true",
        "model.engine.endpoint=mine",
        "model.engine.base_url=http://127.0.0.1:8000/v1",
        "model.engine.model=mine",
    ),
    "model/endpoint": (
        "model.name=mine",
        "model.sees_image=true",
        "model.engine.base_url=http://127.0.0.1:8000/v1",
        "model.engine.model=mine",
    ),
    "model/replay": ("model.name=mine", "model.engine.predictions=recorded"),
    "dataset/prepared": ("dataset.name=mine", "dataset.path=data/mine", "dataset.expect_rows=8"),
    "judge/official": ("model@judge.model=echo",),
    "judge/strict": ("model@judge.model=echo",),
    "judge/strict_v2": ("model@judge.model=echo",),
    "judge/strict_count": ("model@judge.model=echo",),
    "judge/correct": ("model@judge.model=echo",),
    "judge/rubric": ("model@judge.model=echo",),
    "judge/pairwise": ("model@judge.model=echo", "model@judge.baseline=tiny_llama"),
    "judge/jury": ("judge@judge.members.first=echo", "judge@judge.members.second=tiny_llama"),
    "setting/likeliest_choice": ("setting.calls.0.choices.column=emotion",),
    "judge/loglikelihood": ("setting.calls.0.choices.column=emotion",),
    "setting/cfsa": ("model@asker=echo",),
    "setting/user_question_caption": ("model@captioner=echo",),
    "setting/user_question_caption_text_only": ("model@captioner=echo",),
}


def identities(plan: Any) -> dict[str, Any]:
    """Ids of a plan's engines, steps and cells; two steps of one title differ in their seeds."""
    return {
        "engines": [[engine["name"], engine["kind"], engine["key"]] for engine in plan["engines"]],
        "steps": [[step["title"], step["id"]] for step in plan["steps"]],
        "cells": [
            ["/".join(cell[part] for part in ("model", "setting", "dataset", "judge")), cell["key"]]
            for cell in plan["cells"]
        ],
    }


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_makes_the_same_engines_steps_and_cells(group: str, golden: Callable[[str, Any], None]) -> None:
    found = {}
    with composing(config_folder(), "config") as composer:  # as the command's jobs: in a fifth of its time
        for path in sorted((config_folder() / group).glob("*.yaml")):
            chosen = [f"{key}={option}" for key, option in (BASE | {group: path.stem}).items()]
            job = composer.compose_sections([*chosen, *CHOICES.get(f"{group}/{path.stem}", ())])
            assert job, f"{path} cannot be composed"
            config = with_expected_cluster(to_config(job.raw), {"gpus_per_node": 8})
            sweep = plan_sweep([config], must_exist=False, device="cuda")
            found[path.stem] = identities(plan_to_json(sweep.plan, sweep.work, sweep.store.root, ()))
    assert found
    golden(f"plan_{group}", found)


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (config_folder() / "experiment").glob("*.yaml")))
def test_every_experiment_makes_the_same_engines_steps_and_cells(
    experiment: str, called: Callable[..., Any], golden: Callable[[str, Any], None]
) -> None:
    plan = called("plan", f"experiment={experiment}", "--gpus-per-node", "8")
    golden(f"plan_experiment_{experiment}", identities(plan))


def test_repeats_and_fan_outs_make_the_same_steps(
    called: Callable[..., Any], golden: Callable[[str, Any], None]
) -> None:
    chosen = [f"{key}={option}" for key, option in (BASE | {"setting": "cfsa"}).items()]
    plan = called(
        "plan", *chosen, "model@asker=tiny_llama", "judge.repeats=3", "judge.sampling.temperature=0.5", "seed=7"
    )
    golden("plan_repeats", identities(plan))


def test_the_simulator_has_the_same_figures(called: Callable[..., Any], golden: Callable[[str, Any], None]) -> None:
    sweep = ["experiment=paper_table", "judge=llama3_8b,llama3_8b_strict"]
    found = called("simulate", *sweep, "--nodes", "2", "--gpus-per-node", "8")
    measured = {"decision_us_median"}
    golden("simulate_paper_table", {name: value for name, value in found.items() if name not in measured})

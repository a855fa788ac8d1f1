"""Whose words and whose decoding: the configuration's, then the dataset's protocol's, then the project's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.errors import PlanError
from eibench_ray.plan.prompt_templates import render
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.rows.request import AcceptRule, Sampling
from eibench_ray.rows.sample import Sample

if TYPE_CHECKING:
    from conftest import Planner

OFFICIAL_JUDGE = {"judge.kind": "official", "judge.prompt": "{{ record }} or {{ reference }}"}
SAMPLE = Sample("a", {"question": "why?"}, target=("Sun {it}.",), metadata={"reference": "1. Sun {it}."})


def test_the_official_words_are_taken_where_the_dataset_has_them(official: Planner) -> None:
    answer = official.step(official.plan(official.config()), "answer")
    assert answer.prompt.is_official
    assert answer.prompt.system == "You see."
    assert render(answer.prompt.user, SAMPLE, {}) == "Q: why?"
    assert answer.sampling == Sampling(0.2, 0.9, 77)


@pytest.mark.parametrize("changes", [{"setting.prompt_source": "own"}, {"setting.calls": None}])
def test_the_own_words_are_taken_where_they_are_asked_for_or_alone(
    official: Planner, changes: Mapping[str, Any]
) -> None:
    call = {"name": "answer", "role": "subject", "image": True, "prompt": "See. {{ question }}"}
    changes = {key: value or [call] for key, value in changes.items()}
    answer = official.step(official.plan(official.config(changes)), "answer")
    assert not answer.prompt.is_official
    assert (answer.prompt.system, render(answer.prompt.user, SAMPLE, {})) == (None, "See. why?")
    assert answer.sampling == Sampling(0.0, 1.0, 512)


def test_without_a_protocol_the_own_words_are_taken(planner: Planner) -> None:
    answer = planner.step(planner.plan(planner.config()), "answer")
    assert not answer.prompt.is_official
    assert answer.sampling == Sampling(0.0, 1.0, 512)


def test_official_words_that_the_dataset_lacks_are_missed(planner: Planner) -> None:
    with pytest.raises(PlanError, match=r"setting 'look' asks for the official prompt of 'user_question'"):
        planner.plan(planner.config({"setting.prompt_source": "official"}))
    with pytest.raises(
        PlanError, match=r"judge 'judge' asks for the official prompt, .* or set judge.prompt_source=auto"
    ):
        planner.plan(planner.config(OFFICIAL_JUDGE | {"judge.prompt_source": "official"}))


def test_a_protocol_without_this_settings_words_is_no_reason_to_guess(official: Planner) -> None:
    with pytest.raises(PlanError, match="user_question_caption"):
        official.plan(official.config({"setting.prompt_source": "official"}, setting="told"))
    assert not official.step(official.plan(official.config(setting="told")), "answer").prompt.is_official


def test_the_configuration_beats_the_protocol_parameter_by_parameter(official: Planner) -> None:
    changes = {"setting.sampling": {"temperature": 0.7, "stop": ["END"]}}
    answer = official.step(official.plan(official.config(changes)), "answer")
    assert answer.prompt.is_official
    assert answer.sampling == Sampling(0.7, 0.9, 77, ("END",))


def test_a_calls_own_decoding_beats_its_settings(planner: Planner, echo: dict[str, Any]) -> None:
    config = planner.config({"captioner": echo, "setting.sampling": {"max_tokens": 64, "top_p": 0.5}}, setting="told")
    calls = [call.model_dump() for call in config.setting.calls]
    calls[0]["sampling"] = {"max_tokens": 7}
    plan = planner.plan(
        planner.config(
            {"captioner": echo, "setting.sampling": {"max_tokens": 64, "top_p": 0.5}, "setting.calls": calls}
        )
    )
    assert planner.step(plan, "caption").sampling == Sampling(0.0, 0.5, 7)
    assert planner.step(plan, "answer").sampling == Sampling(0.0, 0.5, 64)


def test_a_models_system_prompt_comes_first(official: Planner) -> None:
    answer = official.step(official.plan(official.config({"model.system": "Be kind."})), "answer")
    assert answer.prompt.system == "Be kind.\n\nYou see."


def test_the_official_judge_follows_the_protocol(official: Planner) -> None:
    verdict = official.step(official.plan(official.config(OFFICIAL_JUDGE)), "verdict")
    assert verdict.prompt.is_official
    assert verdict.prompt.system == "You weigh."
    assert verdict.sampling == Sampling(0.3, 0.8, 99)
    assert verdict.accept == AcceptRule("{score: ", True, 3, "{score: 0/1}")
    assert verdict.scorer == ScorerSpec("official")
    answer = official.plan(official.config(OFFICIAL_JUDGE)).cells[0].answer
    assert verdict.inputs == {"record": answer}


def test_literal_braces_survive(official: Planner) -> None:
    verdict = official.step(official.plan(official.config(OFFICIAL_JUDGE)), "verdict")
    said = render(verdict.prompt.user, SAMPLE, {"record": "{{ 7 * 7 }} {% raw %}"})
    assert said == "{{ 7 * 7 }} {% raw %} against 1. Sun {it}., as {score: 1/2}"


@pytest.mark.parametrize(
    ("changes", "system"),
    [
        ({"dataset.subset": "complex"}, "You weigh twice."),
        ({"judge.variant": "gpt"}, None),
        ({"judge.variant": "gpt", "dataset.subset": "complex"}, None),  # no such text: its basic one
    ],
)
def test_the_official_judge_is_chosen_by_variant_and_subset(
    official: Planner, changes: Mapping[str, Any], system: str | None
) -> None:
    verdict = official.step(official.plan(official.config(OFFICIAL_JUDGE | dict(changes))), "verdict")
    assert verdict.prompt.is_official
    assert verdict.prompt.system == system
    assert verdict.accept is not None


def test_the_official_judge_in_own_words_keeps_the_published_rule(planner: Planner) -> None:
    verdict = planner.step(planner.plan(planner.config(OFFICIAL_JUDGE)), "verdict")
    assert not verdict.prompt.is_official
    assert verdict.sampling == Sampling(0.1, 0.9, 512)
    assert verdict.accept == AcceptRule("{score: ", ignore_case=True, attempts=5, fallback="{score: 0/1}")


def test_a_strict_judge_uses_its_own_words_whatever_the_dataset_has(official: Planner) -> None:
    verdict = official.step(official.plan(official.config()), "verdict")
    assert not verdict.prompt.is_official
    assert (verdict.scorer, verdict.accept) == (
        ScorerSpec("strict", {"verdict": "count", "explanation_chars": 200}),
        None,
    )
    assert verdict.sampling == Sampling(0.0, 1.0, 512)

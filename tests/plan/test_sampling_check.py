"""Sampling that an engine cannot do is refused when the sweep is planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.errors import ConfigError, PlanError
from eibench_ray.rows.request import OPTIONAL_SAMPLING, Sampling

if TYPE_CHECKING:
    from conftest import Planner

VLLM = {"kind": "vllm", "source": "me/eye", "max_model_len": 512}
TRANSFORMERS = {"kind": "transformers", "source": "me/eye"}
OPENAI = {"kind": "openai", "endpoint": "local", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
REPLAY = {"kind": "replay", "predictions": "recorded"}
ALL: Mapping[str, Any] = {
    "top_k": 20,
    "min_p": 0.1,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "repetition_penalty": 1.1,
}


def plan_with(planner: Planner, engine: Mapping[str, Any], **sampling: Any) -> Sampling:
    """The sampling of the answers that an engine is planned to give."""
    plan = planner.plan(planner.config({"model.engine": dict(engine), "setting.sampling": sampling}))
    return planner.step(plan, "answer").sampling


@pytest.mark.parametrize(
    ("engine", "extra"),
    [
        (VLLM, {"min_tokens": 4, "logit_bias": {"7": -1.5}, "bad_words": ["very"]}),
        (TRANSFORMERS, {"typical_p": 0.9, "no_repeat_ngram_size": 3}),
        (OPENAI | {"sampling_keys": list(ALL)}, {"mirostat": 2}),
        ({"kind": "echo"}, {"whatever": [1]}),
    ],
    ids=lambda value: value.get("kind"),
)
def test_an_engine_gets_what_it_can_do(planner: Planner, engine: dict[str, Any], extra: dict[str, Any]) -> None:
    assert plan_with(planner, engine, **ALL, extra=extra) == Sampling(0.0, 1.0, 512, **ALL, extra=extra)
    assert ALL.keys() == set(OPTIONAL_SAMPLING)


@pytest.mark.parametrize(
    ("engine", "sampling", "reason"),
    [
        (REPLAY, {"top_k": 20}, r"top_k to 20, .* \(engine.kind replay\) does not take it: leave it out"),
        (REPLAY, {"extra": {"seed": 1}}, "extra.seed to 1"),
        (OPENAI, {"top_k": 20}, "top_k to 20, .* add it to model.engine.sampling_keys"),
        (OPENAI, {"min_p": 0.1}, "min_p to 0.1"),
        (OPENAI, {"repetition_penalty": 1.1}, "repetition_penalty to 1.1"),
        (OPENAI | {"sends_sampling": False}, {"presence_penalty": 1.0}, r"sends_sampling is false\): leave it out"),
        (OPENAI | {"args": {"top_k": 5}}, {"top_k": 20}, r"model.engine.args.top_k, which has the last word"),
        (OPENAI | {"args": {"best_of": 5}}, {"extra": {"best_of": 2}}, r"model.engine.args.best_of"),
        (OPENAI, {"extra": {"seed": 5}}, "extra.seed to 5, .* from keys of its own or from the request"),
        (OPENAI, {"extra": {"max_completion_tokens": 5}}, "extra.max_completion_tokens to 5"),
        (OPENAI, {"extra": {"response_format": {}}}, "extra.response_format"),
        (OPENAI, {"extra": {"reasoning_effort": "low"}}, "extra.reasoning_effort"),
        (VLLM, {"extra": {"seed": 5}}, "extra.seed to 5, .* in extra it takes allowed_token_ids, bad_words"),
        (VLLM, {"extra": {"structured_outputs": {}}}, "extra.structured_outputs"),
        (VLLM, {"extra": {"min_tokens": -1}}, r"no such value there \(input should be greater than or equal to 0\)"),
        (VLLM, {"extra": {"logit_bias": {"sun": 1}}}, "extra.logit_bias to .* no such value"),
        (VLLM | {"reasoning": "none"}, {"extra": {"thinking_token_budget": 9}}, "model.engine.reasoning is none"),
        (TRANSFORMERS, {"extra": {"typical_p": 1.5}}, r"extra.typical_p to 1.5, .* less than 1\): correct it"),
        (TRANSFORMERS, {"extra": {"num_beams": 4}}, "extra.num_beams to 4, .* in extra it takes epsilon_cutoff"),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused(
    planner: Planner, engine: dict[str, Any], sampling: dict[str, Any], reason: str
) -> None:
    with pytest.raises(PlanError, match=f"call 'answer' of setting 'look' sets sampling.*{reason}"):
        plan_with(planner, engine, **sampling)


def test_a_judges_sampling_is_looked_at_too(planner: Planner) -> None:
    with pytest.raises(PlanError, match=r"judge 'judge' sets sampling.top_k to 3, and model 'judge_model'"):
        planner.plan(planner.config({"judge.model.engine": OPENAI, "judge.sampling": {"top_k": 3}}))


@pytest.mark.parametrize("key", ["temperature", "max_tokens", "stop", "top_k", "extra"])
def test_extra_holds_nothing_that_has_a_key_of_its_own(planner: Planner, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} has a key of its own: set it beside extra"):
        planner.config({"setting.sampling": {"extra": {key: 1}}})


def test_a_call_adds_to_its_settings_extra_and_takes_from_it(planner: Planner) -> None:
    call = {"name": "answer", "role": "subject", "image": False, "prompt": "{{ question }}"}
    call["sampling"] = {"top_k": 5, "extra": {"ignore_eos": None, "min_tokens": 2}}
    shared = {"top_k": 9, "min_p": 0.5, "extra": {"ignore_eos": True, "bad_words": ["a"]}}
    plan = planner.plan(planner.config({"setting.calls": [call], "setting.sampling": shared}))
    sampling = planner.step(plan, "answer").sampling
    assert (sampling.top_k, sampling.min_p) == (5, 0.5)
    assert sampling.extra == {"min_tokens": 2, "bad_words": ["a"]}

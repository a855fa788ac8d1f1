"""Requests to an endpoint, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from asking import SCHEMA, ask, endpoint

from eibench_ray.engines.openai.request_body import build_body, prompt_estimate
from eibench_ray.engines.openai.response_format import to_strict_schema
from eibench_ray.rows.request import PlacedImage, Sampling

PLAIN = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "why?"}],
    "max_tokens": 64,
    "temperature": 0.0,
    "top_p": 1.0,
    "seed": 7,
}
REASONING: dict[str, Any] = {
    "max_tokens_key": "max_completion_tokens",
    "sends_sampling": False,
    "sends_seed": False,
    "reasoning_effort": "low",
    "reasoning_tokens": 1000,
}


def test_a_plain_request_has_these_fields_and_no_others() -> None:
    assert build_body(ask(), (), endpoint()) == PLAIN


def test_a_reasoning_model_gets_its_own_words() -> None:
    assert build_body(ask(), (), endpoint(**REASONING)) == {
        "model": "tiny",
        "messages": PLAIN["messages"],
        "max_completion_tokens": 1064,
        "reasoning_effort": "low",
    }
    assert endpoint(**REASONING).most_tokens(64) == 1064


def test_the_picture_stands_before_the_text_and_the_system_before_both() -> None:
    body = build_body(ask(system="Be kind.", images=(PlacedImage(0, "p"),)), ["data:image/png;base64,AA=="], endpoint())
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "text", "text": "why?"},
            ],
        },
    ]


def test_stops_and_logprobs_are_asked_for() -> None:
    body = build_body(ask(sampling=Sampling(0.5, 0.9, 8, ("\n",))), (), endpoint(logprobs=True))
    added = {"max_tokens": 8, "temperature": 0.5, "top_p": 0.9, "stop": ["\n"], "logprobs": True}
    assert body == PLAIN | added


def test_further_sampling_is_sent_where_it_is_set() -> None:
    sampling = Sampling(0.5, 0.9, 8, top_k=20, min_p=0.1, presence_penalty=0.5, extra={"mirostat": 2})
    added = {"max_tokens": 8, "temperature": 0.5, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "presence_penalty": 0.5}
    assert build_body(ask(sampling=sampling), (), endpoint()) == PLAIN | added | {"mirostat": 2}


def test_variables_of_the_chat_template_are_sent_where_there_are_some() -> None:
    config = endpoint(chat_template_kwargs={"enable_thinking": False})
    assert build_body(ask(), (), config) == PLAIN | {"chat_template_kwargs": {"enable_thinking": False}}


def test_args_have_the_last_word_and_null_takes_a_field_out() -> None:
    config = endpoint(args={"top_p": None, "max_tokens": 5, "enable_thinking": False})
    body = build_body(ask(), (), config)
    assert "top_p" not in body
    assert (body["max_tokens"], body["enable_thinking"]) == (5, False)
    assert config.most_tokens(64) == 5


@pytest.mark.parametrize(
    ("json_output", "expected"),
    [
        ("none", None),
        ("object", {"type": "json_object"}),
        ("schema", {"type": "json_schema", "json_schema": {"name": "reply", "strict": False, "schema": SCHEMA}}),
    ],
)
def test_json_is_asked_for_as_the_endpoint_takes_it(json_output: str, expected: object) -> None:
    body = build_body(ask(json_schema=SCHEMA), (), endpoint(json_output=json_output))
    assert body.get("response_format") == expected
    assert ("response_format" in body) == (expected is not None)


def test_a_strict_schema_says_what_openai_takes() -> None:
    body = build_body(ask(json_schema=SCHEMA), (), endpoint(json_output="strict"))
    assert body["response_format"]["json_schema"] == {
        "name": "reply",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "explanation": {"type": "string", "description": "maxLength: 200"},
                "correct": {"type": "integer", "minimum": 0, "maximum": 3},
                "total": {"type": "integer", "enum": [3]},
            },
            "required": ["explanation", "correct", "total"],
            "additionalProperties": False,
        },
    }


def test_strictness_reaches_every_object() -> None:
    loose = {"type": "object", "properties": {"a": {"type": "string", "default": "x"}, "b": {"const": True}}}
    tight = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "boolean", "enum": [True]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    nested = {
        "type": "array",
        "items": {"anyOf": [loose, {"$ref": "#/$defs/c"}]},
        "uniqueItems": True,
        "$defs": {"c": loose},
    }
    assert to_strict_schema(nested) == {
        "type": "array",
        "items": {"anyOf": [tight, {"$ref": "#/$defs/c"}]},
        "$defs": {"c": tight},
    }
    assert "required" not in loose


def test_a_prompts_estimate_has_the_endpoints_tokens_for_a_picture() -> None:
    config = endpoint(picture_tokens=36_000)
    assert prompt_estimate(ask(images=(PlacedImage(0, "p"),)), config) == prompt_estimate(ask(), config) + 36_000


def test_pictures_are_sent_in_order_and_where_they_stand() -> None:
    images = (PlacedImage(1, "b"), PlacedImage(0, "a", 5))
    [message] = build_body(ask("Look: why?", images=images), ["data:b", "data:a"], endpoint())["messages"]
    assert [part.get("text") or part["image_url"]["url"] for part in message["content"]] == [
        "data:b",
        "Look:",
        "data:a",
        " why?",
    ]

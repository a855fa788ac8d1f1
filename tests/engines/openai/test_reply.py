"""Replies as endpoints write them, and as they should not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from asking import ask, endpoint

from eibench_ray.engines.openai.reply import MalformedReplyError, filtered_reply, parse_body, read_reply
from eibench_ray.records import Reply

PRICE = {"input": 2.0, "output": 10.0, "cached_input": 1.0}
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def body(message: dict[str, Any], usage: object = USAGE, **choice: Any) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"} | choice],
        "usage": usage,
    }


def test_a_reply_is_read_with_its_counts_and_its_cost() -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 40}}
    reply = read_reply(body({"content": "Sun."}, usage), ask(), endpoint(price=PRICE))
    assert reply == Reply("Sun.", "stop", 100, 20, 40, cost_usd=pytest.approx((60 * 2 + 40 * 1 + 20 * 10) / 1e6))


def test_a_batch_costs_its_share() -> None:
    full, half = (
        read_reply(body({"content": "Sun."}), ask(), endpoint(price=PRICE), is_batch=is_batch)
        for is_batch in (False, True)
    )
    assert full.cost_usd == pytest.approx(2 * (half.cost_usd or 0))
    assert read_reply(body({"content": "Sun."}), ask(), endpoint()).cost_usd is None


@pytest.mark.parametrize(
    ("message", "choice", "text", "reason"),
    [
        ({"content": "Sun."}, {}, "Sun.", "stop"),
        ({"content": None, "refusal": "No."}, {}, "No.", "refusal"),
        ({"content": "I", "refusal": "No."}, {}, "I", "refusal"),
        ({"content": "Beca"}, {"finish_reason": "content_filter"}, "Beca", "content_filter"),
        ({"content": None}, {"finish_reason": "content_filter"}, "", "content_filter"),
        ({"content": None}, {"finish_reason": "length"}, "", "length"),
        ({}, {"finish_reason": "tool_calls"}, "", "tool_calls"),
        ({"content": "Sun."}, {"finish_reason": None}, "Sun.", "unknown"),
        ({"content": [{"type": "text", "text": "S"}, {"type": "text", "text": "un."}]}, {}, "Sun.", "stop"),
    ],
)
def test_every_way_to_answer_is_an_answer(
    message: dict[str, Any], choice: dict[str, Any], text: str, reason: str
) -> None:
    reply = read_reply(body(message, **choice), ask(), endpoint())
    assert (reply.text, reply.finish_reason) == (text, reason)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "lots",
        {},
        {"prompt_tokens": -5, "completion_tokens": -1},
        {"prompt_tokens": "many", "completion_tokens": []},
        {"prompt_tokens": 10**12, "completion_tokens": 10**12},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": True, "completion_tokens": 1.5},
        {"prompt_tokens": 0, "completion_tokens": 65},
    ],
)
def test_counts_that_cannot_be_are_estimated(usage: object) -> None:
    request = ask("w" * 400, system="s" * 40, image_digest="p")
    reply = read_reply(body({"content": "x" * 80}, usage), request, endpoint(price=PRICE))
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == (8 + 110 + 1000, 20, 0)
    assert reply.cost_usd == pytest.approx((1118 * 2 + 20 * 10) / 1e6)


def test_an_estimated_reply_is_no_longer_than_it_could_be() -> None:
    assert read_reply(body({"content": "x" * 8000}, None), ask(), endpoint()).completion_tokens == 64


def test_what_a_model_thinks_belongs_to_the_reply() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 900, "completion_tokens_details": {"reasoning_tokens": 880}}
    reply = read_reply(body({"content": "Sun."}, usage), ask(), endpoint(reasoning_tokens=1000))
    assert reply.completion_tokens == 900


@pytest.mark.parametrize("cached", [-1, 101, "all", None])
def test_a_cached_part_that_cannot_be_is_none(cached: object) -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": cached}}
    assert read_reply(body({"content": "Sun."}, usage), ask(), endpoint()).cached_tokens == 0


@pytest.mark.parametrize(
    ("logprobs", "mean"),
    [
        ({"content": [{"logprob": -0.5}, {"logprob": -1.5}]}, -1.0),
        ({"content": [{"logprob": -0.5}, {"logprob": None}, {"logprob": float("nan")}]}, -0.5),
        ({"content": []}, None),
        ({"content": None}, None),
        (None, None),
    ],
)
def test_the_mean_logprob_is_of_the_tokens_that_have_one(logprobs: object, mean: float | None) -> None:
    answered = body({"content": "Sun."}, logprobs=logprobs)
    assert read_reply(answered, ask(), endpoint(logprobs=True)).mean_logprob == mean
    assert read_reply(answered, ask(), endpoint()).mean_logprob is None


WHOLE = body({"content": "Sun."})


def without(*path: str | int, value: object = None) -> dict[str, Any]:
    changed: Any = copy.deepcopy(WHOLE)
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "malformed",
    [
        [],
        "a page",
        None,
        {},
        {"error": {"message": "overloaded"}},
        without("choices"),
        without("choices", value=[]),
        without("choices", value=["x"]),
        without("choices", 0, "message"),
        without("choices", 0, value={"message": {"content": None}, "finish_reason": None}),
    ],
)
def test_another_shape_is_asked_for_again(malformed: object) -> None:
    with pytest.raises(MalformedReplyError):
        read_reply(malformed, ask(), endpoint())


@pytest.mark.parametrize("text", ["", "<html>", '{"choices": [{"mess', "[" * 100_000])
def test_a_body_that_is_no_json_is_asked_for_again(text: str) -> None:
    with pytest.raises(MalformedReplyError, match="no JSON") as caught:
        parse_body(text)
    assert len(str(caught.value)) < 500


def test_a_filtered_prompt_is_an_answer_without_words() -> None:
    assert filtered_reply(ask("w" * 40), endpoint(price=PRICE)) == Reply("", "content_filter", 18, 0, 0, 0.0)
    assert filtered_reply(ask(), endpoint()).cost_usd is None

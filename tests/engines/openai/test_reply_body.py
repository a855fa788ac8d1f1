"""Replies as endpoints write them, and as they should not."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from asking import ask, endpoint

from eibench_ray.engines.openai.reply_body import (
    FailedReplyError,
    MalformedReplyError,
    filtered_reply,
    parse_body,
    read_reply,
)
from eibench_ray.rows.request import PlacedImage, Reply

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
        ({"content": "I cannot.", "refusal": "I cannot."}, {"finish_reason": None}, "I cannot.", "refusal"),
        ({"content": ""}, {}, "", "stop"),
        ({"content": None, "reasoning_content": "Hm."}, {"finish_reason": "length"}, "", "length"),
        ({"content": "Sun."}, {"finish_reason": "end_turn"}, "Sun.", "end_turn"),
        ({"content": "Su"}, {"finish_reason": "MAX_TOKENS"}, "Su", "MAX_TOKENS"),
        ({"content": {"type": "text", "text": "Sun."}}, {}, "Sun.", "stop"),
        ({"content": {"text": "Sun."}}, {}, "Sun.", "stop"),
        ({"content": {"correct": 2, "why": "Sonne für alle"}}, {}, '{"correct": 2, "why": "Sonne für alle"}', "stop"),
        ({"content": {"type": "verdict", "correct": 2}}, {}, '{"type": "verdict", "correct": 2}', "stop"),
        ({"content": [1, {"a": None}]}, {}, '[1, {"a": null}]', "stop"),
        ({"content": 3}, {}, "3", "stop"),
        ({"content": []}, {}, "", "stop"),
        ({"content": ["S", {"type": "output_text", "text": {"value": "un."}}]}, {}, "Sun.", "stop"),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, {}, "No.", "refusal"),
        ({"content": [{"type": "text", "text": "I"}, {"type": "refusal", "refusal": "No."}]}, {}, "I", "refusal"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}, {}, "", "stop"),
        ({"content": [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Sun."}]}, {}, "Sun.", "stop"),
        ({"content": [{"type": "image_url", "image_url": {}}, {"type": "note", "text": "Sun."}]}, {}, "Sun.", "stop"),
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
    request = ask("w" * 400, system="s" * 40, images=(PlacedImage(0, "p"),))
    reply = read_reply(body({"content": "x" * 80}, usage), request, endpoint(price=PRICE))
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == (8 + 110 + 1000, 20, 0)
    assert reply.cost_usd == pytest.approx((1118 * 2 + 20 * 10) / 1e6)


def test_an_estimated_reply_is_no_longer_than_it_could_be() -> None:
    assert read_reply(body({"content": "x" * 8000}, None), ask(), endpoint()).completion_tokens == 64


def test_what_a_model_thinks_belongs_to_the_reply() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 900, "completion_tokens_details": {"reasoning_tokens": 880}}
    reply = read_reply(body({"content": "Sun."}, usage), ask(), endpoint(reasoning_tokens=1000))
    assert reply.completion_tokens == 900


TAGGED = "<think>\nHm.\n</think>\n\nSun."


@pytest.mark.parametrize(
    ("message", "thinking", "text"),
    [
        ({"content": "Sun.", "reasoning_content": "Hm."}, "Hm.", "Sun."),
        ({"content": "Sun.", "reasoning": "Hm."}, "Hm.", "Sun."),
        ({"content": "Sun.", "reasoning": "Hm.", "reasoning_content": "Hm."}, "Hm.", "Sun."),
        (
            {"content": "Sun.", "reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
            "Hm.",
            "Sun.",
        ),
        ({"content": "Sun.", "reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}]}, "Hm.", "Sun."),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, "Sun."]}, "Hm.", "Sun."),
        ({"content": [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Sun."}]}, "Hm.", "Sun."),
        ({"content": TAGGED}, "Hm.", "Sun."),
        ({"content": [{"type": "text", "text": TAGGED}]}, "Hm.", "Sun."),
        ({"content": "Hm.</think>Sun."}, "Hm.", "Sun."),
        ({"content": "<think>Hm. Sun."}, "Hm. Sun.", ""),
        ({"content": "<think></think>Sun."}, None, "Sun."),
        ({"content": "Sun.", "reasoning_content": ""}, None, "Sun."),
        ({"content": "Sun.", "reasoning_content": {"effort": 1}}, None, "Sun."),
        ({"content": "Sun."}, None, "Sun."),
    ],
)
def test_thinking_is_read_wherever_it_stands(message: dict[str, Any], thinking: str | None, text: str) -> None:
    reply = read_reply(body(message), ask(), endpoint())
    assert (reply.thinking, reply.text) == (thinking, text)
    assert (reply.thinking_tokens is None) == (thinking is None)


def test_tags_stay_where_nobody_is_to_look_for_them() -> None:
    message = {"content": TAGGED, "reasoning_content": "So."}
    reply = read_reply(body(message), ask(), endpoint(reasoning="none"))
    assert (reply.thinking, reply.text) == ("So.", TAGGED)


@pytest.mark.parametrize(
    ("details", "message", "tokens"),
    [
        ({"reasoning_tokens": 15}, {}, 15),  # OpenAI's keep their thinking to themselves
        ({"reasoning_tokens": 0}, {}, None),
        ({"reasoning_tokens": 21}, {"reasoning": "x" * 40}, 10),  # more than the whole reply has
        ({"reasoning_tokens": "many"}, {"reasoning": "x" * 400}, 20),
        (None, {"reasoning": "x" * 40}, 10),
    ],
)
def test_thinking_is_counted_by_the_endpoint_or_estimated(
    details: object, message: dict[str, Any], tokens: int | None
) -> None:
    usage = USAGE | {"completion_tokens_details": details}
    assert read_reply(body({"content": "Sun."} | message, usage), ask(), endpoint()).thinking_tokens == tokens


def test_a_stream_of_events_brings_its_thinking() -> None:
    deltas = [{"reasoning_content": "H"}, {"reasoning_content": "m."}, {"content": "Sun."}]
    chunks = [{"choices": [{"delta": delta}]} for delta in deltas] + [{"choices": [{"finish_reason": "stop"}]}]
    said = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    reply = read_reply(parse_body(said), ask(), endpoint())
    assert (reply.thinking, reply.text) == ("Hm.", "Sun.")


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
        ({"content": [{"logprob": 10**400}, {"logprob": True}]}, None),
        ({"content": None}, None),
        (None, None),
    ],
)
def test_the_mean_logprob_is_of_the_tokens_that_have_one(logprobs: object, mean: float | None) -> None:
    answered = body({"content": "Sun."}, logprobs=logprobs)
    assert read_reply(answered, ask(), endpoint(logprobs=True)).mean_logprob == mean
    assert read_reply(answered, ask(), endpoint()).mean_logprob is None


def said(**logprobs: float) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": logprob} for token, logprob in logprobs.items()]}


@pytest.mark.parametrize(
    ("message", "logprobs", "mean"),
    [
        # The token that ended the reply is no part of the answer; a text that only looks like one is.
        ({"content": "Sun."}, said(**{"Sun": -1.0, ".": -2.0, "<|im_end|>": -9.0}), -1.5),
        ({"content": "Sun.<b>"}, said(**{"Sun": -1.0, ".": -2.0, "<b>": -9.0}), -4.0),
        # vLLM's server lists the thinking's tokens, too; OpenAI's and DeepSeek's list the answer's alone.
        (
            {"content": "Sun.", "reasoning_content": "Hm."},
            said(**{"<think>": -9.0, "Hm.": -9.0, "</think>": -9.0, "\n": -9.0, "Sun": -1.0, ".": -2.0}),
            -1.5,
        ),
        ({"content": "Sun.", "reasoning_content": "Hm."}, said(**{"Sun": -1.0, ".": -2.0}), -1.5),
        ({"content": "<think>Sun.</think>Sun."}, said(**{"<think>": -9.0, "Sun": -9.0, "Sun.": -0.5}), -0.5),
        # All was thinking; the answer is not found.
        ({"content": "", "reasoning_content": "Hm."}, said(**{"Hm.": -9.0}), None),
        ({"content": "Sün.", "reasoning_content": "Hm."}, said(**{"Hm.": -9.0, "S": -1.0, "\\xc3": -1.0}), None),
    ],
)
def test_the_mean_logprob_is_of_the_answer_alone(
    message: dict[str, Any], logprobs: dict[str, Any], mean: float | None
) -> None:
    answered = body(message, logprobs=logprobs)
    assert read_reply(answered, ask(), endpoint(logprobs=True)).mean_logprob == mean


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
        without("choices"),
        without("choices", value=[]),
        without("choices", value=["x"]),
        without("choices", 0, "message"),
        body({"content": [{"type": "image_url", "image_url": {}}]}),
        {"model": "tiny", "message": {"role": "assistant", "content": "Sun."}, "done": True},
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


FAILED = "the reply ended with finish_reason '{}', which is not how an answer ends: 'Su'"


@pytest.mark.parametrize(
    ("malformed", "message", "status"),
    [
        *[
            (body({"content": "Su"}, finish_reason=word), FAILED.format(word), status)
            for word, status in [
                ("error", 500),
                ("network_error", 500),
                ("insufficient_system_resource", 500),
                ("abort", 500),
                ("something_new", 500),
                ("rate_limit_exceeded", 429),
            ]
        ],
        (
            body({"content": None}, finish_reason=None),
            "the reply ended without a finish_reason, which is not how an answer ends: ''",
            500,
        ),
        (
            body({"content": "Sun."}, finish_reason=None),
            "the reply ended without a finish_reason, which is not how an answer ends: 'Sun.'",
            500,
        ),
        ({"choices": [{"error": {"code": 502, "message": "gone"}, "finish_reason": "error"}]}, "gone", 502),
        (body({"content": "Su"}, error={"message": "gone", "code": "402"}), "gone", 402),
        ({"error": {"code": 402, "message": "pay"}, "user_id": "u"}, "pay", 402),
        ({"error": {"code": "401", "message": "who"}}, "who", 401),
        ({"error": {"message": "slow", "type": "rate_limit_error"}}, "slow", 429),
        ({"error": {"message": "busy", "status": "RESOURCE_EXHAUSTED", "code": None}}, "busy", 429),
        ({"error": {"message": "who", "type": "authentication_error"}}, "who", 401),
        ({"error": {"message": "overloaded"}}, "overloaded", 500),
        ({"error": "overloaded"}, "overloaded", 500),
        ({"error": ["overloaded"]}, "overloaded", 500),
        ({"error": {"code": True, "message": {"text": "x"}}}, '{"text": "x"}', 500),
        ({"error": {"code": 200, "message": "odd"}}, "odd", 500),
        ({"object": "error", "message": "no such model", "code": 404}, "no such model", 404),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "busy", 503),
        ({"success": False, "errors": [{"code": 403, "message": "no"}], "result": None}, "no", 403),
        ({"error_code": 17, "error_msg": "daily limit"}, "daily limit", 500),
        ({"detail": "Not Found"}, "Not Found", 500),
        ({"code": 429, "msg": "slow down"}, "slow down", 429),
        ({"error": {"code": 402}, "choices": body({"content": "Sun."})["choices"]}, '{"code": 402}', 402),
    ],
)
def test_a_failure_that_calls_itself_a_success_is_what_it_says(malformed: Any, message: str, status: int) -> None:
    with pytest.raises(FailedReplyError) as caught:
        read_reply(malformed, ask(), endpoint())
    assert (caught.value.error.message, caught.value.error.status) == (message, status)


def test_a_failure_costs_what_it_says_and_nothing_where_it_says_nothing() -> None:
    for malformed, cost in [
        (body({"content": "Su"}, finish_reason="error"), pytest.approx((100 * 2 + 20 * 10) / 1e6)),
        ({"error": {"code": 500}, "usage": USAGE}, pytest.approx((100 * 2 + 20 * 10) / 1e6)),
        ({"error": {"code": 500}}, None),
    ]:
        with pytest.raises(FailedReplyError) as caught:
            read_reply(malformed, ask(), endpoint(price=PRICE))
        assert (caught.value.usage and caught.value.usage.cost_usd) == cost


@pytest.mark.parametrize("error", [None, {}, "", False])
def test_an_empty_error_is_none(error: object) -> None:
    assert read_reply(body({"content": "Sun."}) | {"error": error}, ask(), endpoint()).text == "Sun."


def stream(*events: object, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n" for event in events) + end


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"delta": delta, "finish_reason": reason}]} | more


def test_a_stream_that_nobody_asked_for_is_read_as_one_reply() -> None:
    text = ": ping\n\n" + stream(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Su\u2028"}),
        chunk({"content": "n."}, "stop"),
        {"choices": [], "usage": USAGE},
    )
    reply = read_reply(parse_body(text), ask(), endpoint())
    assert (reply.text, reply.finish_reason, reply.prompt_tokens) == ("Su\u2028n.", "stop", 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (stream(chunk({"content": "Su"}), end='data: {"choices": [{"del'), "ended without a finish_reason"),
        (stream(chunk({"content": "Su"}), {"error": {"message": "gone", "code": 502}}), "gone"),
        (stream({"choices": [{"delta": {}, "error": {"message": "gone"}, "finish_reason": "error"}]}), "gone"),
    ],
)
def test_a_stream_that_failed_is_no_answer(text: str, message: str) -> None:
    with pytest.raises(FailedReplyError, match=message):
        read_reply(parse_body(text), ask(), endpoint())


def test_a_stream_of_something_else_is_asked_for_again() -> None:
    with pytest.raises(MalformedReplyError, match="none of them a completion's"):
        parse_body(stream({"hello": 1}))


def test_a_filtered_prompt_is_an_answer_without_words() -> None:
    assert filtered_reply(ask("w" * 40), endpoint(price=PRICE)) == Reply("", "content_filter", 18, 0, 0, 0.0)
    assert filtered_reply(ask(), endpoint()).cost_usd is None

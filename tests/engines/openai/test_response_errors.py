"""Meaning of an endpoint's refusals, and that no key is ever in what is said of them."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

import pytest
from asking import endpoint

from eibench_ray.engines.api_key import Secret
from eibench_ray.engines.openai.limit_headers import HeaderLimits, allowance, retry_after_s
from eibench_ray.engines.openai.response_errors import Remedy, judge_garbled, judge_status
from eibench_ray.rows.completion import RowErrorKind

KEY = "sk-proj-7Qm3vX9tLw2ZpR8sKd4N"
NOW = 1_700_000_000.0


def error(message: str = "no", code: object = None, type_: str = "invalid_request_error", **more: Any) -> str:
    return json.dumps({"error": {"message": message, "type": type_, "code": code} | more})


def judged(status: int, body: str, headers: dict[str, str] | None = None, **options: Any) -> Any:
    return judge_status(status, headers or {}, body, endpoint(**options), Secret(KEY), NOW)


@pytest.mark.parametrize("said", ["'logprobs' is not supported with this model", "Extra inputs: Logprobs"])
def test_who_gives_no_log_probabilities_is_asked_for_none(said: str) -> None:
    refused = judged(400, error(said), logprobs=True)
    assert refused.fate is Remedy.ENGINE
    assert refused.message.endswith("; it gives no log probabilities: set model.engine.logprobs=false")
    assert judged(400, error(said)).fate is Remedy.ROW


@pytest.mark.parametrize(
    ("status", "body", "fate"),
    [
        (400, error("maximum context length is 8192", "context_length_exceeded"), Remedy.ROW),
        (400, error("content management policy", "content_filter"), Remedy.ANSWER),
        (400, error("x", "invalid_prompt"), Remedy.ANSWER),
        (400, error("x", innererror={"code": "content_filter"}), Remedy.ANSWER),
        (400, error("Input data may contain inappropriate content.", "data_inspection_failed"), Remedy.ANSWER),
        (400, json.dumps({"code": "DataInspectionFailed", "message": "x"}), Remedy.ANSWER),
        (400, error("Unsupported value: 'temperature'", "unsupported_value"), Remedy.ENGINE),
        (400, error("`temperature` and `top_p` cannot both be specified for this model."), Remedy.ENGINE),
        (400, error("Invalid schema for response_format 'reply'"), Remedy.ENGINE),
        (400, error("Your credit balance is too low"), Remedy.ENGINE),
        (400, error("overdue", "Arrearage"), Remedy.ENGINE),
        (401, error("Incorrect API key", "invalid_api_key"), Remedy.ENGINE),
        (402, "pay", Remedy.ENGINE),
        (403, error("Country not supported"), Remedy.ENGINE),
        (404, error("no such model", "model_not_found"), Remedy.ENGINE),
        (404, "<html>", Remedy.ENGINE),
        (408, "", Remedy.AGAIN),
        (409, "", Remedy.AGAIN),
        (413, "too large", Remedy.ROW),
        (422, json.dumps({"detail": [{"msg": "field required"}]}), Remedy.ROW),
        (429, error("Rate limit reached", "rate_limit_exceeded", "requests"), Remedy.AGAIN),
        (429, error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), Remedy.ENGINE),
        (500, "oops", Remedy.AGAIN),
        (503, error("overloaded"), Remedy.AGAIN),
        (529, error("Overloaded", None, "overloaded_error"), Remedy.AGAIN),
    ],
)
def test_a_refusal_has_its_fate(status: int, body: str, fate: Remedy) -> None:
    failure = judged(status, body)
    assert failure.fate is fate
    assert failure.was_limited == (status == 429 and fate is Remedy.AGAIN)


def test_dashscope_calls_a_limit_per_minute_what_openai_calls_an_empty_account() -> None:
    body = error("You exceeded your current quota", "insufficient_quota")
    failure = judged(429, body, base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1")
    assert (failure.fate, failure.was_limited) == (Remedy.AGAIN, True)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_image_format", RowErrorKind.IMAGE),
        (400, "image_parse_error", RowErrorKind.IMAGE),
        (400, "context_length_exceeded", RowErrorKind.PROMPT),
        (413, None, RowErrorKind.PROMPT),
        (422, None, RowErrorKind.PROMPT),
        (500, None, RowErrorKind.ENGINE),
    ],
)
def test_a_rows_error_has_its_kind(status: int, code: str | None, kind: RowErrorKind) -> None:
    assert judged(status, error("x", code)).row_kind is kind


@pytest.mark.parametrize(
    ("status", "options", "remedy"),
    [
        (401, {"api_key_env": "MY_API_KEY"}, "correct the key in the variable MY_API_KEY"),
        (403, {"api_key_env": "MY_API_KEY"}, r"what it may do \(model 'tiny'\)"),
        (401, {}, "name of the variable that holds it into model.engine.api_key_env"),
        (404, {}, r"correct model.engine.model \(tiny\) or model.engine.base_url \(http://127.0.0.1:9/v1\)"),
        (402, {}, "the account has no credit: add some at local"),
    ],
)
def test_what_ends_the_engine_says_what_to_do(status: int, options: dict[str, Any], remedy: str) -> None:
    failure = judged(status, error("It is so."), **options)
    assert failure.message.startswith(f"local answered {status}: It is so; ")
    assert re.search(remedy, failure.message)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:10 GMT"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
    ],
)
def test_the_endpoint_says_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds
    assert judged(429, "", headers).retry_after_s == seconds
    assert judged(503, "", headers).retry_after_s == seconds


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, HeaderLimits()),
        ({"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "30000"}, HeaderLimits(500, 30000)),
        (
            {"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-tokens-limit": "40000"},
            HeaderLimits(50, 40000),
        ),
        ({"x-ratelimit-limit-requests": "0", "x-ratelimit-limit-tokens": "-1"}, HeaderLimits()),
        ({"x-ratelimit-limit-requests": "many"}, HeaderLimits()),
    ],
)
def test_headers_name_what_the_account_may(headers: dict[str, str], expected: HeaderLimits) -> None:
    assert allowance(headers) == expected


ECHOES = [
    f"Incorrect API key provided: {KEY}.",
    f"Authorization: Bearer {KEY}",
    f"headers: {{'authorization': 'Bearer {KEY}'}}",
    f"the key {KEY[:14]} is not known",
    f"... ending in {KEY[-9:]}",
    "\n".join(["line", KEY, "line"]),
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_what_a_server_echoes_is_scrubbed(status: int, echo: str) -> None:
    for said in (judged(status, error(echo)).message, judged(status, echo).message):
        assert not any(KEY[start : start + 8] in said for start in range(len(KEY) - 7))
        assert "[key]" in said
    assert KEY not in judge_garbled(echo, endpoint(), Secret(KEY)).message


WRITTEN = [
    base64.b64encode(KEY.encode()).decode(),
    base64.b64encode(f"me:{KEY}".encode()).decode(),
    base64.b64encode(f"user:{KEY}:x".encode()).decode(),
    base64.urlsafe_b64encode(f"u:{KEY}".encode()).decode(),
    KEY.encode().hex(),
    KEY.encode().hex().upper(),
    "".join(f"%{byte:02x}" for byte in KEY.encode()),
    KEY[::-1],
]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_key_in_another_writing_is_scrubbed(written: str) -> None:
    secret = Secret(KEY)
    for text in (written, written[: len(written) * 3 // 4], written[len(written) // 4 :]):
        said = secret.scrub(f"Authorization: {text} is wrong")
        assert "[key]" in said
        assert max(map(len, re.findall(r"[^\s\[\]]+", said.replace("Authorization:", "")))) < 8
    assert written[4:-4] not in secret.hide(f"It is {written}.")


def test_a_text_that_has_no_key_stays_as_it_is() -> None:
    text = "aGVsbG8gd29ybGQ 0123456789abcdef %41%42 The quick brown fox."
    assert Secret(KEY).hide(text) == Secret(KEY).scrub(text) == text


@pytest.mark.parametrize("text", ["a" * 200_000, "*" * 200_000, "sk-" * 60_000, "bearer " * 30_000, "a**" * 60_000])
def test_a_long_message_takes_no_time(text: str) -> None:
    began = time.process_time()
    Secret(KEY).scrub(text)
    Secret(KEY).hide(text)
    assert time.process_time() - began < 1.0


def test_control_characters_of_a_message_act_on_nobody() -> None:
    said = judged(500, error("\x1b]52;c;aGk=\x07 \x1b[2J\u202egone\x9b31m")).message
    assert said == r"local answered 500: \x1b]52;c;aGk=\x07 \x1b[2J\u202egone\x9b31m"


@pytest.mark.parametrize("masked", ["sk-ab***********yz", "ab****yz", "sk-abcdefghij", "Bearer something.else"])
def test_what_looks_like_a_key_is_scrubbed_whosever_it_is(masked: str) -> None:
    said = Secret(None).scrub(f"the key {masked} is wrong")
    assert said in ("the key [key] is wrong", "the key Bearer [key] is wrong")


@pytest.mark.parametrize("key", ["EMPTY", "x", "", None])
def test_a_word_that_stands_in_for_a_key_is_no_secret(key: str | None) -> None:
    text = "the x in EMPTY is no key"
    assert Secret(key).hide(text) == Secret(key).scrub(text) == text


def test_a_secret_does_not_show_itself() -> None:
    assert repr(Secret(KEY)) == "Secret([key])"


def test_an_answer_keeps_all_but_the_key() -> None:
    answer = f"**bold** Bearer of news, sk-abcdefghij, {KEY}"
    assert Secret(KEY).hide(answer) == "**bold** Bearer of news, sk-abcdefghij, [key]"


def test_a_message_is_one_bounded_line() -> None:
    said = judged(500, "word\n" * 5000).message
    assert "\n" not in said
    assert len(said) < 500


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_that_wants_to_be_left_alone_for_a_day_is_not_waited_for(status: int) -> None:
    assert judged(status, error("Daily limit."), {"retry-after": "300"}, outage_timeout_s=300.0).fate is Remedy.AGAIN
    failure = judged(status, error("Daily limit."), {"retry-after": "86400"}, outage_timeout_s=300.0)
    assert (failure.fate, failure.retry_after_s) == (Remedy.ENGINE, None)
    assert failure.message.endswith(
        "Daily limit; run the same command again in 86,400 s, which is more than outage_timeout_s waits for"
    )

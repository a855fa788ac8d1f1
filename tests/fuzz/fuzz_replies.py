"""Targets: what judges and models reply, and files of recorded judgements."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from pathlib import Path

from fuzzing import AWKWARD_JSON, refusals, target, to_text

from eibench_ray.benchmarks.eibench.official_scorer import (
    find_subset,
    official_verdict,
    read_judgements,
    score_official,
)
from eibench_ray.benchmarks.eibench.parsed_verdict import MAX_COUNT, CountStatus, ParsedVerdict
from eibench_ray.benchmarks.eibench.strict_scorer import parse_counts, parse_named
from eibench_ray.benchmarks.eibench.triggers import find_numbered, number_triggers, split_triggers
from eibench_ray.config.engine_section import PriceSection
from eibench_ray.engines.engine import RowError
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.reply_body import FailedReplyError, MalformedReplyError, parse_body, read_reply
from eibench_ray.engines.replay import ReplayEngine, ReplaySection
from eibench_ray.rows.request import Request, Sampling

PATH = "CAER-S/train/Happy/1.png"


def _replies() -> list[bytes]:
    return [
        b'\x03{"correct": 2, "total": 3, "explanation": "two"}',
        b'\x02```json\n{"named": {"1": true, "2": false}}\n```',
        b"\x04It says: {score: 3/4}, I think.",
        b'\x01 {"correct": 1.0, "total": 1, "explanation": "\\ud83d"} ',
        b'\x02{"named": {"1": true, "1": false}}',
        *(b'\x02{"correct": ' + value + b', "total": 2}' for value in AWKWARD_JSON),
        b"\x01{score: " + b"9" * 5000 + b"/" + b"8" * 500 + b"}",
    ]


@target(_replies)
def verdict(data: bytes, folder: Path) -> None:
    """A judge's reply, read by both protocols; the first byte chooses how many triggers there are."""
    del folder
    num_triggers, text = (data[0] % 12 + 1 if data else 1), to_text(data[1:])
    strict = [parse_named(text, num_triggers), parse_counts(text, num_triggers)]
    for parsed in strict:
        if parsed.status is CountStatus.OK:
            assert parsed.correct is not None
            assert 0 <= parsed.correct <= num_triggers == parsed.total
        if parsed.hits is not None:
            assert len(parsed.hits) == num_triggers
            assert sum(parsed.hits) == parsed.correct
    for parsed in (*strict, official_verdict(text)):
        _check_storable(parsed)
    with refusals():
        scores = score_official([("Happy/1.png", text), ("sad/2.png", text)])
        assert scores.text().endswith("\n")


def _check_storable(parsed: ParsedVerdict) -> None:
    assert (parsed.correct is None) is (parsed.total is None)
    assert (parsed.correct is None) is (parsed.status is CountStatus.UNPARSED)
    assert all(abs(count) <= MAX_COUNT for count in (parsed.correct, parsed.total) if count is not None)
    (parsed.explanation or "").encode()


def _judgement_files() -> list[bytes]:
    return [
        b'{"CAER-S/train/Happy/1.png": "{score: 1/2}"}\n{"EmoSet-118k/image/sadness/2.jpg": "none"}\n',
        b'\xef\xbb\xbf\n{"EmoSet-118k/image/anger/3.jpg": "{score: 2/0}", "a": "{score: 9/3}"}',
        *(b'{"a": ' + value + b"}" for value in AWKWARD_JSON),
    ]


@target(_judgement_files)
def judgements(data: bytes, folder: Path) -> None:
    """A file of recorded judgements, scored as the published scripts do."""
    file = folder / "judged.jsonl"
    file.write_bytes(data)
    with refusals():
        read = list(read_judgements(file))
        for subset in {find_subset(judgement.path for judgement in read), "basic"}:
            with refusals():
                score_official(read, subset)


def _triggers() -> list[bytes]:
    return [b"1. Rain.\n2) A lost bag.\n3. ", b"Here they are:\n\n**1.** A joke.\n\nThat is all.", b"rain\nwind"]


@target(_triggers)
def triggers(data: bytes, folder: Path) -> None:
    """A reference or an answer, cut into triggers."""
    del folder
    text = to_text(data)
    for found in (split_triggers(text), find_numbered(text)):
        assert all(trigger and trigger == " ".join(trigger.split()) for trigger in found)
    split = split_triggers(text)
    assert len(split_triggers(number_triggers(split))) >= len(split)


REQUEST = Request("a", "digest", None, "Why?", (), Sampling(0.0, 1.0, 64), 0, image_path=PATH, question="Why?")
PRICED = OpenaiSection(
    kind="openai",
    endpoint="local",
    model="m",
    base_url="http://localhost/v1",
    logprobs=True,
    price=PriceSection(input=1.0, output=2.0),
)


def _bodies() -> list[bytes]:
    message = {"role": "assistant", "content": "rain"}
    logprobs = {"content": [{"token": "rain", "logprob": -0.5}]}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}
    body = {"choices": [{"message": message, "finish_reason": "stop", "logprobs": logprobs}], "usage": usage}
    parts = {"choices": [{"message": {"content": [{"type": "text", "text": "rain"}]}, "finish_reason": None}]}
    refused = {"choices": [{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}], "usage": {}}
    awkward = [json.dumps(body).encode().replace(b'"rain"', value) for value in AWKWARD_JSON]
    return [*(json.dumps(one).encode() for one in (body, parts, refused)), *awkward, *AWKWARD_JSON]


@target(_bodies)
def endpoint(data: bytes, folder: Path) -> None:
    """The body of an endpoint's response: a reply with counts that can be, or none."""
    del folder
    try:
        reply = read_reply(parse_body(to_text(data)), REQUEST, PRICED)
    except (FailedReplyError, MalformedReplyError):
        return
    assert reply.prompt_tokens >= reply.cached_tokens >= 0
    assert 0 <= reply.completion_tokens <= 64
    assert reply.cost_usd is not None
    assert 0 <= reply.cost_usd < math.inf
    assert reply.mean_logprob is None or math.isfinite(reply.mean_logprob)


def _recordings() -> list[bytes]:
    several = json.dumps({PATH: {"Why?": "rain", "Who?": "she"}}).encode()
    return [
        json.dumps({PATH: "rain"}).encode() + b"\n\n",
        several + b"\n" + several,
        *(json.dumps({PATH: 0}).encode().replace(b"0", value) for value in AWKWARD_JSON),
    ]


@target(_recordings)
def recording(data: bytes, folder: Path) -> None:
    """Recorded predictions: a text for what was asked, or an error of its row."""
    file = folder / "recorded.jsonl"
    file.write_bytes(data)
    engine = ReplayEngine(ReplaySection(kind="replay", predictions=str(file)), str(file))
    with refusals():
        asyncio.run(engine.start())
        with contextlib.suppress(RowError):
            assert isinstance(asyncio.run(engine.generate(REQUEST, ())).text, str)

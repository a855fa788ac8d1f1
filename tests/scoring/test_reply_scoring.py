from typing import Literal

import pytest

from eibench_ray.rows.completion import Completion
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.reply_scoring import read_verdict
from eibench_ray.scoring.verdict import VerdictStatus

SAMPLE = Sample("s1", {"question": "Why so glad?"}, target=("Cake", "Friends"))


def completion(text: str | None, error_kind: str | None = None) -> Completion:
    return Completion(
        sample_id="s1",
        request_digest="d",
        text=text,
        error_kind=error_kind,
        error=None if error_kind is None else "it failed",
        finish_reason="stop",
        prompt_tokens=1,
        completion_tokens=1,
        cached_tokens=0,
        attempt=1,
        latency_s=0.1,
        finished_at=0.0,
        engine="echo",
        run_id="r",
    )


ANSWER, FAILED = completion("cake"), completion(None, "image")
STRICT, OFFICIAL = completion('{"correct": 1, "total": 2}'), completion("{score: 1/2}")


def test_hits_are_read_where_the_judge_was_asked_for_them() -> None:
    reply = completion('{"named": {"1": false, "2": true}}')
    verdict = read_verdict("strict", SAMPLE, ANSWER, reply, per_trigger=True)
    assert (verdict.hits, verdict.recall) == ((False, True), 0.5)
    assert read_verdict("strict", SAMPLE, ANSWER, reply).status is VerdictStatus.UNPARSED
    assert read_verdict("strict", SAMPLE, ANSWER, STRICT, per_trigger=True).status is VerdictStatus.UNPARSED
    assert read_verdict("strict", SAMPLE, ANSWER, STRICT).hits is None


@pytest.mark.parametrize("kind", ["strict", "official"])
@pytest.mark.parametrize(
    ("answer", "reply", "status"),
    [
        (None, None, VerdictStatus.NO_ANSWER),
        (FAILED, None, VerdictStatus.NO_ANSWER),
        (FAILED, completion(None, "upstream"), VerdictStatus.NO_ANSWER),
        (ANSWER, None, VerdictStatus.JUDGE_ERROR),
        (ANSWER, completion(None, "timeout"), VerdictStatus.JUDGE_ERROR),
        (ANSWER, completion("{score: 1/2}", "engine"), VerdictStatus.JUDGE_ERROR),
        (ANSWER, completion("I would say half."), VerdictStatus.UNPARSED),
    ],
)
def test_whatever_is_missing_is_named_and_has_no_recall(
    kind: Literal["strict", "official"], answer: Completion | None, reply: Completion | None, status: VerdictStatus
) -> None:
    verdict = read_verdict(kind, SAMPLE, answer, reply)
    assert (verdict.sample_id, verdict.status, verdict.recall) == ("s1", status, None)
    assert verdict.correct is verdict.total is None


@pytest.mark.parametrize(("kind", "reply"), [("strict", STRICT), ("official", OFFICIAL)])
def test_a_readable_reply_is_a_verdict_in_its_own_protocol_only(
    kind: Literal["strict", "official"], reply: Completion
) -> None:
    verdict = read_verdict(kind, SAMPLE, ANSWER, reply)
    assert (verdict.correct, verdict.total, verdict.status, verdict.recall) == (1, 2, VerdictStatus.OK, 0.5)
    other: Literal["strict", "official"] = "official" if kind == "strict" else "strict"
    assert read_verdict(other, SAMPLE, ANSWER, reply).status is VerdictStatus.UNPARSED


def test_an_empty_answer_is_an_answer() -> None:
    assert read_verdict("strict", SAMPLE, completion(""), STRICT).status is VerdictStatus.OK


def test_only_strict_holds_the_total_against_the_reference() -> None:
    strict = read_verdict("strict", SAMPLE, ANSWER, completion('{"correct": 3, "total": 3}'))
    assert (strict.status, strict.recall) == (VerdictStatus.WRONG_TOTAL, None)
    official = read_verdict("official", SAMPLE, ANSWER, completion("{score: 6/3}"))
    assert (official.status, official.recall) == (VerdictStatus.OK, 2.0)

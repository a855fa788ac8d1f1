"""From rows to scores: what is missing, what the scorers read, and what a scorer may not say."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from eibench_ray.benchmarks.eibench.official_scorer import OfficialScorer
from eibench_ray.benchmarks.eibench.strict_scorer import StrictScorer
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.reply_scoring import read_score
from eibench_ray.scoring.rules import answer_pattern
from eibench_ray.scoring.rules.regex import RegexScorer
from eibench_ray.scoring.scorer import TARGETS_HIT, Metric, Score, Scorer, ScoreStatus

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


COUNT, NAMED, PUBLISHED = StrictScorer(), StrictScorer(verdict="triggers"), OfficialScorer()


OWN = {"garbled": "are garbled"}


@dataclass(frozen=True, slots=True)
class Rule(Scorer):
    """Scores an answer as it is told to."""

    values: tuple[tuple[str, float], ...] = ()
    status: str = ScoreStatus.OK

    metrics = (
        Metric("accuracy"),
        Metric("mistakes", direction="lower", high=5.0),
        Metric("length", high=None, low=None),
    )
    statuses = OWN

    def has_something_to_ask(self, sample: Sample) -> bool:
        return sample.target is not None

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:
        assert (answer, reply) == ("cake", None)
        return Score(sample.sample_id, dict(self.values), self.status)


def test_hits_are_read_where_the_judge_was_asked_for_them() -> None:
    reply = completion('{"named": {"1": false, "2": true}}')
    score = read_score(NAMED, SAMPLE, ANSWER, reply)
    assert (score.details, score.values) == ({"correct": 1, "total": 2, TARGETS_HIT: [False, True]}, {"recall": 0.5})
    assert read_score(COUNT, SAMPLE, ANSWER, reply).status == ScoreStatus.UNPARSED
    assert read_score(NAMED, SAMPLE, ANSWER, STRICT).status == ScoreStatus.UNPARSED
    assert TARGETS_HIT not in read_score(COUNT, SAMPLE, ANSWER, STRICT).details


@pytest.mark.parametrize("scorer", [COUNT, NAMED, PUBLISHED])
@pytest.mark.parametrize(
    ("answer", "reply", "status"),
    [
        (None, None, ScoreStatus.NO_ANSWER),
        (FAILED, None, ScoreStatus.NO_ANSWER),
        (FAILED, completion(None, "upstream"), ScoreStatus.NO_ANSWER),
        (completion("cake", "engine"), STRICT, ScoreStatus.NO_ANSWER),
        (ANSWER, None, ScoreStatus.JUDGE_ERROR),
        (ANSWER, completion(None, "timeout"), ScoreStatus.JUDGE_ERROR),
        (ANSWER, completion("{score: 1/2}", "engine"), ScoreStatus.JUDGE_ERROR),
        (ANSWER, completion("I would say half."), ScoreStatus.UNPARSED),
    ],
)
def test_whatever_is_missing_is_named_and_has_no_value(
    scorer: Scorer, answer: Completion | None, reply: Completion | None, status: ScoreStatus
) -> None:
    assert read_score(scorer, SAMPLE, answer, reply) == Score("s1", status=status)


@pytest.mark.parametrize("scorer", [COUNT, NAMED, PUBLISHED, Rule()])
@pytest.mark.parametrize("answer", [None, ANSWER])
def test_a_sample_without_anything_to_compare_with_has_no_score(scorer: Scorer, answer: Completion | None) -> None:
    bare = Sample("s1", {"question": "Why so glad?"})
    assert read_score(scorer, bare, answer, STRICT) == Score("s1", status=ScoreStatus.NO_TARGET)


@pytest.mark.parametrize(("scorer", "reply", "other"), [(COUNT, STRICT, PUBLISHED), (PUBLISHED, OFFICIAL, COUNT)])
def test_a_readable_reply_is_a_score_in_its_own_protocol_only(scorer: Scorer, reply: Completion, other: Scorer) -> None:
    assert read_score(scorer, SAMPLE, ANSWER, reply) == Score(
        "s1", {"recall": 0.5}, ScoreStatus.OK, {"correct": 1, "total": 2}
    )
    assert read_score(other, SAMPLE, ANSWER, reply).status == ScoreStatus.UNPARSED


def test_an_empty_answer_is_an_answer() -> None:
    assert read_score(COUNT, SAMPLE, completion(""), STRICT).status == ScoreStatus.OK


def test_only_strict_holds_the_total_against_the_reference() -> None:
    strict = read_score(COUNT, SAMPLE, ANSWER, completion('{"correct": 3, "total": 3, "explanation": "all"}'))
    assert strict == Score("s1", {}, "wrong_total", {"correct": 3, "total": 3}, "all")
    official = read_score(PUBLISHED, SAMPLE, ANSWER, completion("{score: 6/3}"))
    assert (official.status, official.values) == (ScoreStatus.OK, {"recall": 2.0})


def test_a_rule_reads_the_answer_and_no_reply() -> None:
    values = (("accuracy", 1.0), ("length", 4.0))
    assert read_score(Rule(values), SAMPLE, ANSWER, None) == Score("s1", dict(values))
    assert read_score(Rule(values), SAMPLE, ANSWER, STRICT) == Score("s1", dict(values))
    assert read_score(Rule(), SAMPLE, FAILED, None).status == ScoreStatus.NO_ANSWER


def test_an_answer_in_which_a_rule_finds_nothing_is_the_worst_of_each_metric_or_missing() -> None:
    rule = Rule(status=ScoreStatus.UNPARSED)
    assert read_score(rule, SAMPLE, ANSWER, None) == Score("s1", status=ScoreStatus.UNPARSED)
    wrong = read_score(rule, SAMPLE, ANSWER, None, is_unparsed_wrong=True)
    assert wrong == Score("s1", {"accuracy": 0.0, "mistakes": 5.0}, ScoreStatus.UNPARSED)
    garbled = read_score(Rule(status="garbled"), SAMPLE, ANSWER, None, is_unparsed_wrong=True)
    assert garbled == Score("s1", status="garbled")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule(), r"the values \{\} with the status"),
        (Rule((("length", 1.0),)), "accuracy has to be there where the status is ok"),
        (Rule((("accuracy", 1.0), ("recall", 1.0))), r"a number of one of its metrics \(accuracy, mistakes, length\)"),
        (Rule((("accuracy", float("nan")),)), "a number of one of its metrics"),
        (Rule(status="lost"), "the status one of ok, unparsed, .*, garbled"),
    ],
)
def test_what_a_scorer_may_not_say_is_an_error_of_its_own_with_its_name(rule: Rule, message: str) -> None:
    score = read_score(rule, SAMPLE, ANSWER, None)
    assert (score.values, score.status) == ({}, ScoreStatus.SCORER_ERROR)
    assert re.match(f"the scorer Rule gives .*{message}", score.explanation or "")


@dataclass(frozen=True, slots=True)
class RightOrWrong(Rule):
    metrics = (Metric("accuracy", is_binary=True),)


@pytest.mark.parametrize(("value", "status"), [(0.0, "ok"), (1.0, "ok"), (0.5, "scorer_error")])
def test_a_binary_metric_knows_no_value_in_between(value: float, status: str) -> None:
    score = read_score(RightOrWrong((("accuracy", value),)), SAMPLE, ANSWER, None)
    assert score.status == status
    assert status == "ok" or "0 or 1 where it is binary" in (score.explanation or "")


def test_a_scorer_that_fails_is_named_in_the_rows_explanation() -> None:
    score = read_score(Rule(), SAMPLE, completion("bread"), None, is_unparsed_wrong=True)
    assert (score.sample_id, score.values, score.status) == ("s1", {}, ScoreStatus.SCORER_ERROR)
    assert (score.explanation or "").startswith("the scorer Rule ended in AssertionError")


def test_a_scorers_own_words_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_pattern, "LIMIT_S", 0.1)
    score = read_score(RegexScorer(pattern="(a|a)*[bc]"), SAMPLE, completion("a" * 60), None)
    assert score.status == ScoreStatus.SCORER_ERROR
    assert (score.explanation or "").startswith("the pattern '(a|a)*[bc]' takes more than 0.1 s")


@dataclass(frozen=True, slots=True)
class NeedsTarget(Rule):
    """Fails on samples without a target before anything is read."""

    def has_something_to_ask(self, sample: Sample) -> bool:
        return len(sample.targets[0]) > 0


def test_a_scorer_that_fails_before_it_reads_costs_the_row_alone() -> None:
    assert read_score(NeedsTarget(), Sample("s1", {}), ANSWER, None).status == ScoreStatus.SCORER_ERROR

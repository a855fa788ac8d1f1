"""Values as metrics write them."""

from __future__ import annotations

from math import inf

import pytest

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.scorer import Metric, Score, Scorer

SHARE = Metric("accuracy")
COSINE = Metric("coherence", format=".3f", low=-1.0)
LENGTH = Metric("length", unit="words", direction="lower", format=".0f", high=None)


@pytest.mark.parametrize(
    ("metric", "heading", "value", "difference", "worst"),
    [
        (SHARE, "accuracy %", "12.3", "+12.3", 0.0),
        (COSINE, "coherence", "0.123", "+0.123", -1.0),
        (LENGTH, "length words", "<1", "+0", None),
    ],
)
def test_a_value_is_written_in_its_metrics_format(
    metric: Metric, heading: str, value: str, difference: str, worst: float | None
) -> None:
    assert metric.heading == heading
    assert metric.show(0.123) == value
    assert metric.show(0.123, "+") == difference
    assert metric.worst == worst


def test_more_or_fewer_digits_than_the_format_has() -> None:
    assert SHARE.show(0.12345, digits=2) == "12.35"
    assert SHARE.show(0.12345, digits=0) == "12"
    assert COSINE.show(-0.5, "+", digits=1) == "-0.5"
    assert LENGTH.show(2.5, digits=0) == "2"


@pytest.mark.parametrize(
    ("metric", "value", "digits", "shown"),
    [
        (SHARE, 2999 / 3000, None, ">99.9"),
        (SHARE, 2999 / 3000, 0, ">99"),
        (SHARE, 2999 / 3000, 2, "99.97"),
        (SHARE, 1 / 3000, None, "<0.1"),
        (SHARE, 1.0, None, "100.0"),
        (SHARE, 0.0, 0, "0"),
        (SHARE, sum([0.1] * 10), None, "100.0"),  # 0.9999999999999999
        (SHARE, 1.0002, None, "100.0"),  # a score that is not clamped
        (COSINE, 0.99996, None, ">0.999"),
        (COSINE, -0.99996, 1, "<-0.9"),
        (COSINE, 0.0001, None, "0.000"),
        (LENGTH, 0.3, None, "<1"),
        (LENGTH, 1000.4, None, "1000"),
    ],
)
def test_only_the_least_and_the_greatest_value_read_so(
    metric: Metric, value: float, digits: int | None, shown: str
) -> None:
    assert metric.show(value, digits=digits) == shown


def test_where_lower_is_better_the_greatest_value_is_the_worst() -> None:
    assert Metric("error", direction="lower").worst == 1.0


class Plain(Scorer):
    """A scorer that says nothing but what it must."""

    metrics = (SHARE,)

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002
        return Score(sample.sample_id)


def test_a_scorer_that_says_nothing_else_asks_nobody_and_takes_every_sample() -> None:
    plain, sample = Plain(), Sample("s", {})
    assert (plain.asks, plain.has_members, plain.statuses, plain.engine_kind, plain.asked_options) == (
        False,
        False,
        {},
        None,
        (),
    )
    assert (plain.sampling, plain.accept, plain.schema(sample)) == (None, None, None)
    assert (plain.prompt_names("basic"), plain.prompt_words) == ((), {})
    assert plain.has_something_to_ask(sample)


def test_a_metric_that_says_nothing_else_is_a_share_of_which_more_is_better() -> None:
    plain = Metric("x")
    assert (plain.unit, plain.direction, plain.aggregate, plain.format) == ("", "higher", "mean", ".1%")
    assert (plain.low, plain.high, plain.is_binary, plain.span) == (0.0, 1.0, False, 1.0)
    assert (plain.is_percent, plain.digits) == (True, 1)
    assert (COSINE.is_percent, COSINE.digits, COSINE.span) == (False, 3, 2.0)
    assert LENGTH.span == inf
    assert Metric("y", direction="lower").worst == 1.0


def test_a_score_that_says_nothing_else_is_there_without_a_value() -> None:
    score = Score("s")
    assert (score.values, score.status, score.details, score.explanation, score.extracted) == ({}, "ok", {}, None, None)

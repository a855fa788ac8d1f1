"""A sample with all that was said about it."""

from __future__ import annotations

from typing import Any

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.joined_row import JoinedAnswer, JoinedRow
from eibench_ray.scoring.scorer import Score

SAMPLE = Sample("s", {"question": "why?"})


class Said:
    """A stored answer, as far as a joined row looks at it."""

    def __init__(self, cost_usd: float | None) -> None:
        self.cost_usd = cost_usd


def row(answers: Any, replies: Any, scores: Any, made: Any = None) -> JoinedRow:
    return JoinedRow(SAMPLE, answers, replies, scores, "accuracy", made or {})


def test_what_belongs_to_an_answer_stands_with_it() -> None:
    scores = tuple(Score("s", {"accuracy": float(number)}) for number in range(4))
    joined = row(("one", "two"), ("a", "b", "c", "d"), scores)
    assert joined.answer == "one"
    assert joined.by_answer == [
        JoinedAnswer("one", ("a", "b"), scores[:2]),
        JoinedAnswer("two", ("c", "d"), scores[2:]),
    ]


def test_a_rule_has_scores_without_replies() -> None:
    scores = (Score("s", {"accuracy": 1.0}), None)
    assert row(("one", "two"), (), scores).by_answer == [
        JoinedAnswer("one", (), scores[:1]),
        JoinedAnswer("two", (), scores[1:]),
    ]


def test_the_value_is_the_mean_of_the_scores_that_have_the_headline() -> None:
    scores = (Score("s", {"accuracy": 1.0}), Score("s", {"accuracy": 0.0}), Score("s", {"length": 7.0}), None)
    assert row(("one",), (), scores).value == 0.5
    assert row(("one",), (), (None, Score("s"))).value is None


def test_a_sample_costs_what_all_of_its_rows_cost() -> None:
    made = {"caption": Said(0.25), "answer": Said(None), "verdict": Said(0.5)}
    assert row(("one",), (), (), made).cost_usd == 0.75
    assert row(("one",), (), (), {"answer": Said(0.0)}).cost_usd == 0.0
    assert row(("one",), (), (), {"answer": Said(None)}).cost_usd is None

"""The likeliest choice is the answer, by three ways of comparing."""

from __future__ import annotations

from typing import Any

import pytest

from eibench_ray.rows.choices import AskedChoices, to_text
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.reply_scoring import read_score
from eibench_ray.scoring.rules.loglikelihood import LoglikelihoodScorer
from eibench_ray.scoring.scorer import ScoreStatus

CHOICES = ("a brown bear", "dog", "the cat")
# By the sum the dog, per character the bear, per token the cat.
FOUND = AskedChoices(CHOICES).compare([[-1.0] * 4, [-3.0], [-0.7] * 5])


def sample(target: Any) -> Sample:
    return Sample("a", {}, target=target, metadata={"choices": CHOICES})


@pytest.mark.parametrize(
    ("target", "values"),
    [
        ("dog", (1.0, 0.0, 0.0)),
        ("A", (0.0, 1.0, 0.0)),
        (2, (0.0, 0.0, 1.0)),
        (("A", "B"), (1.0, 1.0, 0.0)),
    ],
)
def test_each_metric_compares_in_its_own_way(target: Any, values: tuple[float, ...]) -> None:
    score = LoglikelihoodScorer().read(sample(target), to_text(FOUND), None)
    assert tuple(score.values.values()) == values
    assert list(score.values) == ["accuracy", "accuracy_norm", "accuracy_per_token"]
    assert score.details["chosen"] == {"accuracy": "B", "accuracy_norm": "A", "accuracy_per_token": "C"}
    assert score.details["logprobs"] == pytest.approx({"a brown bear": -4.0, "dog": -3.0, "the cat": -3.5})
    assert score.extracted == "B"


def test_a_target_that_is_no_choice_is_nothing_to_score() -> None:
    scorer = LoglikelihoodScorer()
    assert not scorer.has_something_to_ask(sample("a fish"))
    assert LoglikelihoodScorer(first_index=1).read(sample("2"), to_text(FOUND), None).values["accuracy"] == 1.0


def test_an_answer_without_likelihoods_is_unparsed() -> None:
    row = Completion("a", "d", "dog", None, None, "stop", 1, 1, 0, 1, 0.1, 0.0, "e", "r")
    score = read_score(LoglikelihoodScorer(), sample("dog"), row, None)
    assert score.status == ScoreStatus.UNPARSED

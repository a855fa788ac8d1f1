"""Scorers that ask a model about any answer: the JSON that they ask for, and what they read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from eibench_ray.config.section import read_options
from eibench_ray.errors import PlanError
from eibench_ray.plan.prompt_templates import render, with_words, words_in
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.judged.correct import CorrectScorer
from eibench_ray.scoring.judged.rubric import Anchor, RubricScorer

SAMPLE = Sample("s", {"question": "Capital of France?"}, target="Paris")
SCALE = (Anchor(1, "bad"), Anchor(3), Anchor(5, "good"))


@pytest.mark.parametrize(
    ("reply", "value", "explanation"),
    [
        ('{"correct": true, "explanation": "same"}', 1.0, "same"),
        ('{"correct": false}', 0.0, None),
        ('```json\n{"correct": true}\n```', 1.0, None),
        ('{"explanation": "same", "correct": true}', 1.0, "same"),
        ('{"correct": true, "explanation": "cut off in the mid', 1.0, "cut off in the mid"),
        ('{"correct": true, "explanation": "cut off \\', 1.0, "cut off "),
        ('{"correct": true, "explanation": "cut off \\u12', 1.0, "cut off "),
        ('{"correct": true, "explanation": "half \\ud83d"}', 1.0, "half ?"),
        ('{"correct": "true"}', None, None),
        ('{"correct": 1}', None, None),
        ('{"correct": true, "correct": false}', None, None),
        ('{"correct": tr', None, None),
        ('{"correct": true', None, None),
        ("Yes, it is correct.", None, None),
        ("", None, None),
    ],
)
def test_a_verdict_counts_if_it_is_true_or_false(reply: str, value: float | None, explanation: str | None) -> None:
    score = CorrectScorer().read(SAMPLE, "Paris", reply)

    assert score.values.get("accuracy") == value
    assert score.status == ("unparsed" if value is None else "ok")
    assert score.explanation == explanation


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"rating": 5, "explanation": "fine"}', 5.0),
        ('{"rating": 3.0}', 3.0),
        ('{"rating": 1, "explanation": "it sa', 1.0),
        ('{"rating": 2}', None),
        ('{"rating": "5"}', None),
        ('{"rating": true}', None),
        ('{"rating": 5', None),  # 5, or the beginning of 50
    ],
)
def test_a_rating_counts_if_it_is_a_value_of_the_scale(reply: str, value: float | None) -> None:
    assert RubricScorer(SCALE, "tact").read(SAMPLE, "Paris", reply).values.get("tact") == value


def test_the_verdict_comes_first_and_no_text_has_a_longest_length() -> None:
    for scorer in (CorrectScorer(), RubricScorer(SCALE)):
        schema = scorer.schema(SAMPLE)
        assert list(schema["properties"])[1:] == ["explanation"]
        assert "maxLength" not in json.dumps(schema)
        assert scorer.schema(Sample("t", {})) is schema
    assert list(CorrectScorer(explanation_words=0).schema(SAMPLE)["properties"]) == ["correct"]
    assert RubricScorer(SCALE).schema(SAMPLE)["properties"]["rating"] == {"type": "integer", "enum": [1, 3, 5]}


def test_a_metric_lies_between_the_ends_of_its_scale() -> None:
    (metric,) = RubricScorer(SCALE, "rudeness", "lower").metrics

    assert (metric.name, metric.direction, metric.low, metric.high, metric.worst) == ("rudeness", "lower", 1, 5, 5)


def test_a_prompt_reads_the_scale_and_the_form_of_the_reply() -> None:
    words = RubricScorer((Anchor(0, 'says "no"\nor }} \N{GRINNING FACE}'), Anchor(1)), explanation_words=7).prompt_words
    prompt = with_words("{{ answer }}\n{{ scale }}\n{{ reply_form }}", words)

    said = render(prompt, Sample("s", {"scale": "a column of the same name"}), {"answer": "No."})

    assert words_in(prompt) == {"answer"}
    assert said == (
        'No.\n0: says "no"\nor }} \N{GRINNING FACE}\n1\n'
        'Reply with a JSON object: "rating": one of 0, 1, then "explanation": why, in at most 7 words.'
    )


def test_a_prompt_that_reads_none_of_these_words_stays_as_it_is() -> None:
    assert with_words("{{ answer }}", RubricScorer(SCALE).prompt_words) == "{{ answer }}"
    with pytest.raises(PlanError, match="not a Jinja2 template"):
        with_words("{{ scale", RubricScorer(SCALE).prompt_words)


def test_a_sample_without_a_target_is_not_asked_about() -> None:
    assert not CorrectScorer().has_something_to_ask(Sample("s", {}))
    assert not CorrectScorer().has_something_to_ask(Sample("s", {}, target=" "))
    assert RubricScorer(SCALE).has_something_to_ask(Sample("s", {}))


@pytest.mark.parametrize(
    ("scale", "problem"),
    [
        ([{"value": 1}], "at least 2"),
        ([{"value": 1}, {"value": 1}], "a value twice"),
        ([{"value": 1}, {"value": 1.5}], "valid integer"),
        ([{"value": 1}, {"value": 2, "words": "good"}], "words"),
    ],
)
def test_a_scale_that_cannot_be_used_is_refused(scale: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        read_options(RubricScorer, {"scale": scale})


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_have_is_no_rating(constant: str) -> None:
    score = RubricScorer(SCALE).read(SAMPLE, "Paris", f'{{"rating": 5, "more": {constant}}}')
    assert (score.values, score.status) == ({}, "unparsed")


def test_the_prompt_says_the_form_of_the_reply() -> None:
    bare, explained = CorrectScorer(explanation_words=0), CorrectScorer(explanation_words=7)
    assert bare.prompt_words == {"reply_form": 'Reply with a JSON object: "correct": true or false.'}
    assert explained.prompt_words["reply_form"].endswith(', then "explanation": why, in at most 7 words.')
    assert "explanation" not in bare.schema(SAMPLE)["properties"]
    assert explained.schema(SAMPLE)["required"] == ["correct", "explanation"]
    assert not explained.has_something_to_ask(Sample("s", {}))


def test_scorers_that_ask_say_so_and_which_of_their_options_shape_the_question() -> None:
    for scorer in (CorrectScorer(), RubricScorer(SCALE)):
        assert scorer.asks
        assert not scorer.has_members
        assert "explanation_words" in scorer.asked_options
        assert scorer.explanation_words == 30
    rubric = RubricScorer(SCALE)
    assert (rubric.metric, rubric.direction) == ("rating", "higher")

"""Replies that are alike are read once, and every sample has the score that its own reply gives."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product, zip_longest
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eibench_ray.benchmarks.eibench.strict_scorer import StrictScorer
from eibench_ray.datasets.sample_table import SampleTable
from eibench_ray.plan.graph import Cell
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.range_scorer import KnownScores, RangeScorer
from eibench_ray.runs.score_reader import JudgeReader
from eibench_ray.runs.step_rows import SlicePart, StepRows
from eibench_ray.scoring.judged.correct import CorrectScorer
from eibench_ray.scoring.judged.rubric import Anchor, RubricScorer
from eibench_ray.scoring.scorer import Score, Scorer

SCORERS: list[Scorer] = [
    StrictScorer(verdict="triggers"),
    StrictScorer(verdict="triggers", explanation_chars=0, explanation_words=9),
    StrictScorer(verdict="count"),
    StrictScorer(verdict="count", explanation_chars=0, explanation_words=9),
    CorrectScorer(),
    RubricScorer(scale=(Anchor(1, "bad"), Anchor(2), Anchor(3, "good"))),
]
# Parts of a reply; "@" stands for words, of which each reply has others.
PARTS = [
    '"explanation": "@"',
    '"explanation":"@"',
    '"explanation" : "@"',
    '"explanation":  "@"',
    '"explanation": "\\u00e9 \\n \\"@\\""',
    '"explanation": "half \\ud83d@"',
    '"explanation": "bad \\x@"',
    '"explanation": "tab\t,\nline@"',
    '"explanation": "@',
    '"explanation": "@\\',
    '"explanation": 7',
    '"explanation": null',
    '"explanation": {"explanation": "@"}',
    '"expl\\u0061nation": "@"',
    '"more": {"explanation": "@"}',
    '"more": {"explanation" : "@"}',
    '"more": "a\\"explanation\\": \\"@\\""',
    '"a\\"explanation": "@"',
    '"why": "@"',
    '"named": {"1": true, "2": false}',
    '"named": {"1": true, "2": "no"}',
    '"named": {"1": true, "2": false, "1": true}',
    '"named": {"1": true, "explanation": "@"}',
    '"correct": 1, "total": 2',
    '"correct": 2.0, "total": 2',
    '"correct": NaN, "total": 2',
    '"correct": 3, "total": 2',
    f'"correct": 1, "total": {"9" * 5000}',
    '"correct": true',
    '"correct": true, "correct": false',
    '"rating": 3',
    '"rating": 7',
    '"rating": [[[3]]]',
]
FORMS = [
    "{%s}",
    " {%s}\n",
    "```json\n{%s}\n```",
    "Sure: {%s}",
    "{%s} ok",
    "{%s",
    "{%s} }",
    "%s",
    "[{%s}]",
    '{"x": {%s}}',
]
SHAPES = st.builds(
    lambda form, parts: form % ", ".join(parts),
    st.sampled_from([*FORMS[:1] * 8, *FORMS]),
    st.lists(st.sampled_from([*PARTS[:2] * 6, *PARTS]), min_size=1, max_size=3),
)
WORDS = ["rain", "no bag", "", "so  ", "\u00e9\U0001f382\u2028", "3"]
ODD = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def rows_of(texts: list[str | None], kinds: list[str | None] | None = None) -> StepRows:
    columns: dict[str, Any] = {
        "text": texts,
        "error_kind": kinds or [None] * len(texts),
        "finish_reason": ["stop"] * len(texts),
    }
    table = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
    return StepRows([SlicePart(0, slice(0, len(texts)), table, None)], np.ones(len(texts), np.bool_), lambda _: [])


def samples_of(targets: list[list[str]]) -> SampleTable:
    columns: dict[str, Any] = {
        "sample_id": [f"s{number}" for number in range(len(targets))],
        "media": [[] for _ in targets],
        "inputs": ["{}" for _ in targets],
        "target": list(map(json.dumps, targets)),
        "metadata": ["{}" for _ in targets],
    }
    return SampleTable(PurePath("d"), lambda _: pa.table(columns))


def read(
    scorer: Scorer, targets: list[list[str]], answers: StepRows, replies: StepRows, known: KnownScores
) -> list[Score | None]:
    """The scores by columns, each with its own sample's id and words."""
    spec = ScorerSpec(repr(scorer))
    cell = Cell(*"kmsdj", spec, False, False, "answer", ("verdict",), ("answer", "verdict"), {})
    samples = samples_of(targets)
    reader = JudgeReader(scorer, 1, is_unparsed_wrong=False)
    (column,) = RangeScorer(cell, reader, known).read(samples, {"answer": answers, "verdict": replies})
    return [
        score and replace(score, sample_id=sample.sample_id, explanation=words)
        for score, sample, words in zip(column.scores, samples, column.explanations, strict=True)
    ]


def read_each(scorer: Scorer, targets: list[list[str]], answers: StepRows, replies: StepRows) -> list[Score | None]:
    """The scores row by row."""
    reader = JudgeReader(scorer, 1, is_unparsed_wrong=False)
    rows = zip(samples_of(targets), answers.results, replies.results, strict=True)
    return [score for sample, answer, reply in rows for score in reader.read(sample, answer, [reply])]


@settings(max_examples=300, deadline=None)
@given(shapes=st.lists(SHAPES | ODD, min_size=1, max_size=3), scorer=st.sampled_from(SCORERS))
@example(['{"more": {"explanation": "@"}, "expl\\u0061nation": "@", "correct": true}'], CorrectScorer())
@example(['{"correct": true, "explanation": "@'], CorrectScorer())
def test_odd_replies_are_read_as_each_alone(shapes: list[str], scorer: Scorer) -> None:
    texts: list[str | None] = [
        "".join(part + words for part, words in zip_longest(shape.split("@"), filled, fillvalue=""))
        for shape in shapes
        for filled in product(WORDS, repeat=min(2, shape.count("@")))
    ]
    targets = [["rain", "bag"] if number % 5 else [] for number in range(len(texts))]
    rows = scorer, targets, rows_of(["said"] * len(texts)), rows_of(texts)
    known: KnownScores = {}
    alone = read_each(*rows)
    assert read(*rows, known) == alone
    assert read(*rows, known) == alone  # from what was read before


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_words_are_each_replies_own(scorer: Scorer) -> None:
    verdict = '"named": {"1": true, "2": true}, "correct": 2, "total": 2, "rating": 2'
    texts: list[str | None] = [f'{{"explanation": "{number} words", {verdict}}}' for number in range(9)]
    rows = scorer, [["rain", "bag"]] * 9, rows_of(["said"] * 9), rows_of(texts)
    known: KnownScores = {}
    said = [score.explanation for score in read(*rows, known) if score]
    assert read_each(*rows) == read(*rows, known)
    if not isinstance(scorer, CorrectScorer):  # to which 2 is no verdict
        assert [len(scores) for scores in known.values()] == [1]
        assert said == [f"{number} words" for number in range(9)]


def test_rows_without_a_text_are_looked_at_one_by_one() -> None:
    answers = rows_of(["said", None, "said", "said", None], [None, "prompt", None, "prompt", None])
    verdict = '{"correct": true}'
    replies = rows_of([verdict, verdict, None, verdict, verdict], [None, None, "engine", None, None])
    rows = CorrectScorer(), [["rain"]] * 5, answers, replies
    found = read(*rows, {})
    assert found == read_each(*rows)
    assert [score.status for score in found if score] == ["ok", "no_answer", "judge_error", "no_answer", "no_answer"]


class Failing(CorrectScorer):
    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:
        raise ValueError(f"{sample.sample_id} {answer} {reply}")


def test_what_a_scorer_fails_on_names_each_sample() -> None:
    rows = Failing(), [["rain"]] * 3, rows_of(["said"] * 3), rows_of(['{"correct": true}'] * 3)
    known: KnownScores = {}
    assert [score.explanation for score in read(*rows, known) if score] == [
        score.explanation for score in read_each(*rows) if score
    ]
    assert list(known.values()) == [{}]

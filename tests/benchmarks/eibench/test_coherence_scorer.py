"""Coherence: the definition by hand, and how an engine's reply is read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eibench_ray.benchmarks.eibench.coherence_scorer import CoherenceScorer
from eibench_ray.engines.embedding.embedding_engine import adjacent_cosine
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.scorer import Score, ScoreStatus

SAMPLE = Sample("s1", {"question": "why?"})


@pytest.mark.parametrize(
    ("embeddings", "expected"),
    [
        ([[1, 0], [1, 1]], math.sqrt(0.5)),
        ([[1, 0], [0, 3], [0, 5]], 0.5),  # neighbours only: the first and the third are not compared
        ([[2, 1], [4, 2]], 1.0),
        ([[1, 2], [-2, -4]], -1.0),
        ([[1, 0]], None),
        ([], None),
    ],
)
def test_neighbours_are_compared_by_cosine(embeddings: list[list[float]], expected: float | None) -> None:
    found = adjacent_cosine(np.array(embeddings, np.float32))
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-7))


def read(reply: str) -> Score:
    return CoherenceScorer().read(SAMPLE, "One. Two.", reply)


def test_a_reply_has_a_coherence_and_a_number_of_sentences() -> None:
    assert read('{"sentences": 3, "coherence": -0.1234567890123}') == Score(
        "s1", {"coherence": -0.1234567890123, "sentences": 3.0}
    )


@pytest.mark.parametrize("sentences", [0, 1])
def test_below_two_sentences_there_is_nothing_to_compare(sentences: int) -> None:
    assert read(f'{{"sentences": {sentences}, "coherence": null}}') == Score(
        "s1", {"sentences": float(sentences)}, ScoreStatus.NOT_APPLICABLE
    )


@pytest.mark.parametrize("reply", ["", "yes", "[]", "3", '{"sentences": 2}', '{"coherence": 0.5}', "[" * 100_000])
def test_the_words_of_another_engine_are_no_coherence(reply: str) -> None:
    assert read(reply) == Score("s1", status=ScoreStatus.UNPARSED)


def test_it_is_asked_whether_or_not_the_sample_has_a_target() -> None:
    assert CoherenceScorer().has_something_to_ask(SAMPLE)
    assert CoherenceScorer().schema(SAMPLE) is None

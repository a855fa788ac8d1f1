"""Coherence: the definition by hand, its reply, and its mean over a cell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eibench_ray.benchmarks.eibench.coherence_scorer import (
    CellCoherence,
    Coherence,
    CoherenceColumns,
    adjacent_cosine,
    read_coherence,
)
from eibench_ray.errors import ScoreError
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.scoring.interval import Resampling

RESAMPLING = Resampling(confidence=0.95, resamples=500)


def score(*rows: tuple[str, Coherence | None]) -> CellCoherence:
    """The coherence of answers to pictures, each named by its digest."""
    columns = CoherenceColumns()
    for number, (picture, known) in enumerate(rows):
        columns.add(Sample(f"s{number}", {}, (Media("", picture),) if picture else (), "Sun."), known)
    return columns.score("minilm", RESAMPLING)


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


@pytest.mark.parametrize("known", [Coherence(3, 0.1234567890123), Coherence(1, None), Coherence(0, None)])
def test_a_reply_is_read_as_it_was_written(known: Coherence) -> None:
    assert read_coherence(known.to_text()) == known


def test_no_reply_is_no_coherence() -> None:
    assert read_coherence(None) is None


def test_a_cell_is_the_mean_over_answers_that_have_one() -> None:
    cell = score(("a", Coherence(2, 0.2)), ("b", Coherence(4, 0.8)), ("c", Coherence(1, None)), ("d", None))
    assert (cell.n, cell.num_measured, cell.coverage) == (4, 2, 0.5)
    assert cell.coherence == pytest.approx(0.5)
    assert cell.sentences == pytest.approx(7 / 3)  # an answer of one sentence counts here, a missing one nowhere
    assert cell.ci_low == pytest.approx(0.2)
    assert cell.ci_high == pytest.approx(0.8)


def test_answers_to_one_picture_are_resampled_together() -> None:
    rows = [(f"{number % 10}", Coherence(2, number % 10 / 10)) for number in range(100)]
    together, alone = score(*rows), score(*((f"p{number}", known) for number, (_, known) in enumerate(rows)))
    assert together.coherence == pytest.approx(alone.coherence) == pytest.approx(0.45)
    widths = []
    for cell in (together, alone):
        assert cell.ci_low is not None
        assert cell.ci_high is not None
        widths.append(cell.ci_high - cell.ci_low)
    assert widths[0] > 2.5 * widths[1]  # ten pictures, not a hundred: about sqrt(10) as wide


@pytest.mark.parametrize("rows", [[("a", Coherence(2, 0.3)), ("a", Coherence(2, 0.5))], [("a", Coherence(2, 0.4))] * 3])
def test_one_picture_or_one_value_has_no_spread(rows: list[tuple[str, Coherence]]) -> None:
    cell = score(*rows)
    assert cell.ci_low == cell.coherence == cell.ci_high == pytest.approx(0.4)


def test_a_cell_without_any_coherence_says_so() -> None:
    cell = score(("a", Coherence(1, None)), ("b", None))
    assert (cell.coherence, cell.ci_low, cell.ci_high, cell.coverage) == (None, None, None, 0.0)
    assert score(("b", None)).sentences is None


def test_a_cell_without_samples_is_an_error() -> None:
    with pytest.raises(ScoreError, match="without samples"):
        score()

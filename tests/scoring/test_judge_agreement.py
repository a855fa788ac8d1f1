"""Judges against each other: which answers count, who is milder, and what cannot be said."""

from __future__ import annotations

import numpy as np
import pytest

from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.scoring.judge_agreement import compare_judges, panels_of
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.scorer import Metric

CONFIDENCE = 0.95
NONE = float("nan")


def cell(
    judge: str, recall: list[float], *, model: str = "m", answers: str | None = None, metric: Metric = RECALL
) -> ScoredCell:
    return ScoredCell(
        model=model,
        setting="plain",
        dataset="faces",
        judge=judge,
        self_judged=False,
        answers=answers or f"answers of {model}",
        metric=metric,
        values=np.array(recall),
        words=np.arange(len(recall), dtype=np.float64),
        clusters=np.arange(len(recall), dtype=np.int32),
    )


def test_a_judge_that_gives_more_has_a_positive_bias() -> None:
    (pair,) = compare_judges([cell("mild", [1.0, 0.75, 0.5, NONE]), cell("harsh", [0.75, 0.5, 0.25, 1.0])], CONFIDENCE)
    assert (pair.first, pair.second, pair.num_cells) == ("mild", "harsh", 1)
    assert pair.bias.difference == pytest.approx(0.25)
    assert pair.bias.ci_low is None  # equal differences do not tell how they spread
    assert (pair.over_samples.n, pair.over_samples.rho) == (3, pytest.approx(1.0))
    assert pair.alpha is not None
    assert pair.alpha < 1
    assert (pair.over_cells.n, pair.over_cells.rho) == (1, None)


def test_cells_are_ranked_by_their_means_over_what_both_graded() -> None:
    first = {"a": [0.0, 0.0, NONE], "b": [0.5, 0.0, 0.0], "c": [1.0, 1.0, 1.0]}
    second = {"a": [0.0, 0.25, 1.0], "b": [0.5, 0.5, 0.5], "c": [1.0, 1.0, 0.5]}
    cells = [
        cell(judge, recall, model=model)
        for judge, graded in (("x", first), ("y", second))
        for model, recall in graded.items()
    ]
    (pair,) = compare_judges(cells, CONFIDENCE)
    assert pair.num_cells == 3
    assert (pair.over_cells.n, pair.over_cells.rho) == (3, pytest.approx(1.0))
    assert pair.over_samples.n == 8
    assert pair.bias.num_clusters == 3  # the same pictures in all cells


def test_only_the_very_same_answers_are_compared() -> None:
    cells = [cell("x", [1.0, 0.5], answers="one"), cell("y", [1.0, 0.5], answers="other"), cell("x", [1.0], model="b")]
    assert compare_judges(cells, CONFIDENCE) == []


@pytest.mark.parametrize(
    ("first", "second", "n"), [([NONE, NONE], [1.0, 0.5], 0), ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], 3)]
)
def test_missing_and_constant_verdicts_have_no_coefficient(first: list[float], second: list[float], n: int) -> None:
    (pair,) = compare_judges([cell("x", first), cell("y", second)], CONFIDENCE)
    assert (pair.over_samples.n, pair.alpha, pair.over_samples.rho, pair.over_cells.rho) == (n, None, None, None)
    assert pair.bias.difference == (0.0 if n else None)


def test_a_panel_is_all_judges_where_they_are_more_than_two() -> None:
    cells = [cell("x", [1.0, 0.5, NONE]), cell("y", [1.0, 0.5, NONE])]
    assert panels_of(cells) == []
    [panel] = panels_of([*cells, cell("z", [1.0, 0.5, 0.0]), cell("z", [0.25, 0.0, 0.5], model="b")])
    assert (panel.judges, panel.n, panel.alpha) == (("x", "y", "z"), 2, 1.0)
    for strange in "xyz":
        [panel] = panels_of([cell(judge, [1.0, 0.0, 0.0 if judge == strange else 1.0]) for judge in "xyz"])
        assert panel.alpha is not None
        assert panel.alpha < 1, "each judge counts"


def test_judges_that_grade_in_other_metrics_are_not_compared() -> None:
    cells = [cell("x", [1.0, 0.5, 0.0]), cell("y", [1.0, 0.5, 0.0]), cell("z", [1.0, 0.5, 0.0])]
    words = [cell(judge, [9.0, 4.0, 2.0], metric=Metric("words", high=None)) for judge in ("v", "w")]
    assert {(pair.first, pair.second) for pair in compare_judges([*cells, *words], CONFIDENCE)} == {
        ("x", "y"),
        ("x", "z"),
        ("y", "z"),
        ("v", "w"),
    }
    [panel] = panels_of([*cells, *words])
    assert (panel.judges, panel.metric) == (("x", "y", "z"), RECALL)

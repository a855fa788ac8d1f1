"""A judge against people's labels: agreement, bias, and intervals that hold what they say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from eibench_ray.scoring.calibration import calibrate, estimate_alpha
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.scorer import Metric

NAN = np.nan


def cell(values: list[float], labels: list[float] | None, model: str = "m", judge: str = "j") -> ScoredCell:
    size = len(values)
    return ScoredCell(
        model, "s", "d", judge, self_judged=False, answers=f"{model} answers", metric=Metric("accuracy"),
        values=np.array(values), words=np.zeros(size), clusters=np.arange(size, dtype=np.int32),
        labels=None if labels is None else np.array(labels),
    )  # fmt: skip


def test_right_and_wrong_verdicts_have_an_accuracy_and_a_bias() -> None:
    [found] = calibrate([cell([1, 1, 1, 0, NAN, 1], [1, 0, 1, 0, 1, NAN])], 0.95)

    assert found.accuracy is not None
    assert (found.num_labels, found.bias.n, found.accuracy.value) == (5, 4, 0.75)
    assert (found.accuracy.ci_low or 0) < 0.75 < (found.accuracy.ci_high or 0)
    assert (found.bias.first, found.bias.second, found.bias.difference) == (0.75, 0.5, 0.25)
    assert found.bias.ci_low is not None
    # Krippendorff (2011), section A: two observers, two values: 1 - (n - 1) o01 / (n0 n1), with n = 8 values,
    # of which 3 are 0 and 5 are 1, and one pair that differs.
    assert found.alpha is not None
    assert found.alpha.value == pytest.approx(1 - 7 * 1 / (3 * 5))


def test_ratings_have_alpha_and_no_accuracy() -> None:
    [found] = calibrate([cell([1, 0.5, 0], [1, 0.5, 0.25])], 0.95)

    assert found.accuracy is None
    assert found.alpha is not None
    assert found.bias.difference == pytest.approx(-0.25 / 3)


def test_models_are_pooled_and_told_apart_and_judges_without_labels_left_out() -> None:
    cells = [
        cell([1, 1], [1, 0]),
        cell([0, 1], [0, 1], "n"),
        cell([0, 0], None, "o"),
        cell([1, 1], [NAN, NAN], judge="k"),
    ]
    found = list(calibrate(cells, 0.95))

    assert [(one.judge, one.model, one.num_labels) for one in found] == [("j", None, 4), ("j", "m", 2), ("j", "n", 2)]
    assert [one.accuracy.value for one in found if one.accuracy] == [0.75, 0.5, 1.0]


def test_full_agreement_has_no_interval_and_equal_values_no_alpha() -> None:
    clusters = np.arange(4, dtype=np.int32)
    same = np.array([1.0, 2, 3, 4])
    full, constant = (estimate_alpha(values, values, clusters, 0.95) for values in (same, np.ones(4)))

    assert full is not None
    assert (full.value, full.ci_low, constant) == (1.0, None, None)


def test_the_interval_of_alpha_holds_the_truth_as_often_as_it_says() -> None:
    """Two observers of 60 pictures with two questions each: the truth is alpha over very many pictures."""

    def draw(numbers: np.random.Generator, pictures: int) -> tuple[NDArray[np.float64], ...]:
        quality = np.repeat(numbers.normal(size=pictures), 2) + numbers.normal(size=2 * pictures)
        first, second = (np.rint(2 * (quality + numbers.normal(size=2 * pictures) * 0.7)) for _ in range(2))
        return first, second + 0.5, np.repeat(np.arange(pictures), 2).astype(np.int32)

    whole = estimate_alpha(*draw(np.random.default_rng(1), 200_000), 0.95)  # type: ignore[arg-type]
    assert whole is not None
    held = 0
    for seed in range(400):
        found = estimate_alpha(*draw(np.random.default_rng(100 + seed), 60), 0.95)  # type: ignore[arg-type]
        assert found is not None
        assert found.ci_low is not None
        assert found.ci_high is not None
        held += found.ci_low <= whole.value <= found.ci_high
    assert 0.92 <= held / 400 <= 0.98

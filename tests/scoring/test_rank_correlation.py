"""Rank correlation: SciPy's figure, its interval, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from eibench_ray.scoring.interval import Resampling
from eibench_ray.scoring.rank_correlation import RankCorrelation, correlate_ranks, spearman, weighted_rho

NONE = float("nan")
MANY = Resampling(0.95, 1000)


def test_ties_share_their_mean_rank() -> None:
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 1, 2, 3])).rho == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("first", "second", "n"),
    [
        ([], [], 0),
        ([1.0, 2.0], [1.0, 2.0], 2),
        ([1.0, 2.0, 3.0, NONE], [1.0, 2.0, NONE, 3.0], 2),
        ([0.5, 0.5, 0.5, 0.5], [1.0, 2.0, 3.0, 4.0], 4),
        ([1.0, 2.0, 3.0, 4.0], [7.0, 7.0, 7.0, 7.0], 4),
    ],
    ids=["nothing", "two", "two in common", "equal scores", "equal lengths"],
)
def test_too_few_or_equal_figures_have_no_rho(first: list[float], second: list[float], n: int) -> None:
    clusters = np.arange(len(first), dtype=np.int32)
    assert correlate_ranks(np.array(first), np.array(second), clusters, MANY) == RankCorrelation(n, None)


def test_one_picture_has_a_rho_but_no_interval() -> None:
    found = correlate_ranks(np.array([1.0, 2, 3]), np.array([1.0, 2, 3]), np.zeros(3, np.int32), MANY)
    assert found == RankCorrelation(3, pytest.approx(1.0))


@given(st.data())
def test_a_weighted_rho_is_that_of_the_repeated_samples(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 12))
    first, second = (
        np.unique(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)), return_inverse=True)[1]
        for _ in range(2)
    )
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    (found,) = weighted_rho(first, second, weights[None, :].astype(float))
    x, y = first.repeat(weights), second.repeat(weights)
    if len(set(x.tolist())) < 2 or len(set(y.tolist())) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(x, y).statistic)


def test_the_interval_holds_rho_is_repeatable_and_wider_by_picture() -> None:
    rng = np.random.default_rng(5)
    pictures = rng.normal(size=50)
    length = np.repeat(pictures, 4) + rng.normal(size=200) / 4
    score = (np.repeat(pictures, 4) + rng.normal(size=50).repeat(4)).round(1)
    by_picture = np.repeat(np.arange(50, dtype=np.int32), 4)
    alone = np.arange(200, dtype=np.int32)
    found = correlate_ranks(score, length, by_picture, MANY)
    assert found == correlate_ranks(score, length, by_picture, MANY)
    assert width(found) > 1.5 * width(correlate_ranks(score, length, alone, MANY))
    assert found.rho is not None
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert -1 <= found.ci_low < found.rho < found.ci_high <= 1


def test_equal_samples_drawn_as_one_kind_give_the_same_interval() -> None:
    rng = np.random.default_rng(8)
    score, length = rng.integers(0, 5, 300) / 4, rng.integers(3, 9, 300).astype(np.float64)
    length += 4 * score
    alone = correlate_ranks(score, length, np.arange(300, dtype=np.int32), MANY)
    doubled = correlate_ranks(score.repeat(2), length.repeat(2), np.arange(300, dtype=np.int32).repeat(2), MANY)
    assert (alone.rho, width(alone)) == (pytest.approx(doubled.rho), pytest.approx(width(doubled), rel=0.15))
    assert alone.ci_low == pytest.approx(doubled.ci_low, abs=0.02)


def test_resampling_in_parts_is_a_resampling(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    first, second, clusters = rng.normal(size=30), rng.normal(size=30), np.arange(30, dtype=np.int32)
    whole = correlate_ranks(first, second, clusters, MANY)
    monkeypatch.setattr("eibench_ray.scoring.rank_correlation._WEIGHED_AT_ONCE", 30 * 7)
    assert width(correlate_ranks(first, second, clusters, MANY)) == pytest.approx(width(whole), rel=0.2)


def width(found: RankCorrelation) -> float:
    assert found.ci_low is not None
    assert found.ci_high is not None
    return found.ci_high - found.ci_low

"""Paired differences: their value, their interval, their symmetry, and how often a true null is rejected."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eibench_ray.scoring.cluster_mean import estimate_mean, t_interval
from eibench_ray.scoring.paired_tests import (
    PairedDifference,
    adjust_holm,
    compare_paired,
    is_below,
    least_clusters,
)

CONFIDENCE = 0.95
NONE = float("nan")
RECALL = st.sampled_from([NONE, 0.0, 0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1.0])


def compare(first: list[float], second: list[float], clusters: list[int] | None = None) -> PairedDifference:
    codes = np.array(range(len(first)) if clusters is None else clusters, dtype=np.int32)
    return compare_paired(np.array(first), np.array(second), codes, CONFIDENCE)


def test_only_samples_that_both_have_are_compared() -> None:
    paired = compare([1.0, 0.5, NONE, 1.0, 0.5], [0.5, 0.0, 1.0, NONE, 0.5])
    assert (paired.n, paired.num_clusters) == (3, 3)
    assert paired.first == pytest.approx(2 / 3)
    assert paired.second == pytest.approx(1 / 3)
    assert paired.difference == pytest.approx(1 / 3)
    assert paired.p_value == pytest.approx(0.5)  # two of the four ways to turn two differences


@pytest.mark.parametrize(
    ("first", "second", "clusters", "expected"),
    [
        ([], [], None, (0, None, None, None, None)),
        ([NONE, 1.0], [1.0, NONE], None, (0, None, None, None, None)),
        ([1.0], [0.5], None, (1, 0.5, None, None, 1.0)),
        ([1.0, 1.0], [0.5, 0.0], [7, 7], (2, 0.75, None, None, 1.0)),
        ([0.5, 0.5], [0.5, 0.5], None, (2, 0.0, None, None, 1.0)),
        ([1.0, 0.5], [0.5, 0.0], None, (2, 0.5, None, None, 0.5)),
    ],
    ids=["no sample", "none in common", "one sample", "one picture", "ties", "equal differences"],
)
def test_what_cannot_be_said_is_none(
    first: list[float], second: list[float], clusters: list[int] | None, expected: tuple[float | None, ...]
) -> None:
    paired = compare(first, second, clusters)
    assert (paired.n, paired.difference, paired.ci_low, paired.ci_high, paired.p_value) == expected


@settings(max_examples=60)
@given(st.lists(st.tuples(RECALL, RECALL, st.integers(0, 5)), max_size=20))
def test_exchanged_sides_give_the_negative(rows: list[tuple[float, float, int]]) -> None:
    first, second, clusters = ([row[part] for row in rows] for part in range(3))
    one, other = compare(first, second, clusters), compare(second, first, clusters)
    assert (one.n, one.num_clusters, one.p_value) == (other.n, other.num_clusters, other.p_value)
    assert (one.first, one.second) == (other.second, other.first)
    for mine, theirs in ((one.difference, other.difference), (one.ci_low, other.ci_high), (one.ci_high, other.ci_low)):
        assert mine == (None if theirs is None else pytest.approx(-theirs, abs=1e-12))


@settings(max_examples=40)
@given(st.lists(st.tuples(RECALL, RECALL, st.integers(0, 5)), max_size=20), st.randoms())
def test_the_order_of_samples_does_not_matter(rows: list[tuple[float, float, int]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (compare(*([row[part] for row in order] for part in range(3))) for order in (rows, shuffled))
    assert (one.n, one.num_clusters) == (other.n, other.num_clusters)
    for mine, theirs in ((one.difference, other.difference), (one.p_value, other.p_value)):
        assert mine == (None if theirs is None else pytest.approx(theirs))


def test_the_interval_covers_and_the_test_holds_its_level_only_with_clusters() -> None:
    """300 datasets of 40 pictures with 1 to 5 questions; two models that are equally good, each with its own luck on
    a picture. The share of rejections at 5% has a standard error of 0.013.
    """
    rng = np.random.default_rng(11)
    covered = rejected = rejected_alone = 0
    for _ in range(300):
        sizes = rng.integers(1, 6, 40)
        clusters = np.repeat(np.arange(40, dtype=np.int32), sizes)
        first, second = (rng.binomial(4, np.repeat(rng.beta(1, 2, 40), sizes)) / 4 for _ in range(2))
        paired = compare_paired(first, second, clusters, CONFIDENCE)
        alone = compare_paired(first, second, np.arange(len(first), dtype=np.int32), CONFIDENCE)
        assert paired.p_value is not None
        assert alone.p_value is not None
        assert paired.ci_low is not None
        assert paired.ci_high is not None
        covered += paired.ci_low <= 0 <= paired.ci_high
        rejected += paired.p_value <= 0.05
        rejected_alone += alone.p_value <= 0.05
    assert 0.90 <= covered / 300 <= 0.98
    assert 0.02 <= rejected / 300 <= 0.09
    assert rejected_alone / 300 > 0.12


def test_the_interval_is_that_of_the_mean_difference() -> None:
    rng, clusters = np.random.default_rng(3), np.repeat(np.arange(10, dtype=np.int32), 3)
    first, second = rng.random(30), rng.random(30)
    found = compare_paired(first, second, clusters, CONFIDENCE)
    interval = t_interval(estimate_mean(first - second, clusters), CONFIDENCE)
    assert interval is not None
    assert (found.ci_low, found.ci_high) == (interval.low, interval.high)


def test_an_interval_ends_where_no_difference_can_be_larger() -> None:
    first, second, clusters = np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0]), np.arange(3, dtype=np.int32)
    free, bounded = (compare_paired(first, second, clusters, CONFIDENCE, span) for span in (math.inf, 1.0))
    assert free.ci_low is not None
    assert free.ci_low < -1
    assert (bounded.ci_low, bounded.ci_high) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("p_value", "confidence", "below"),
    [
        (0.049, 0.95, True),
        (0.05, 0.95, False),
        (0.051, 0.95, False),
        (0.05, 0.9, True),
        (0.0, 0.99, True),
        (None, 0.5, False),
    ],
)
def test_a_p_value_at_the_level_is_not_below_it(p_value: float | None, confidence: float, below: bool) -> None:
    assert is_below(p_value, confidence) is below


@pytest.mark.parametrize(
    ("confidence", "num_tests", "clusters"),
    [(0.95, 1, 6), (0.9, 1, 5), (0.99, 1, 8), (0.95, 2, 7), (0.95, 3, 7), (0.95, 4, 8), (0.95, 45, 11)],
)
def test_so_many_pictures_are_the_fewest_that_can_show_a_difference(
    confidence: float, num_tests: int, clusters: int
) -> None:
    assert least_clusters(confidence, num_tests) == clusters
    least, fewer = (num_tests * 2.0 ** (1 - number) for number in (clusters, clusters - 1))
    assert least < 1 - confidence <= fewer


def test_holms_steps_by_hand() -> None:
    assert adjust_holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert adjust_holm([0.5, 0.6]) == [1.0, 1.0]
    assert adjust_holm([]) == []

"""The sign-flip test against all flips written out, against convolution and SciPy's, and under a true null."""

from __future__ import annotations

from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eibench_ray.scoring import sign_flip
from eibench_ray.scoring.sign_flip import LEAST, sign_flip_p_value

# Fractions of two to five triggers, so that ties and zeros occur.
shares = st.builds(lambda part, total: part / total, st.integers(-5, 5), st.integers(2, 5))


def brute_force(sums: list[float]) -> float:
    observed = abs(sum(sums))
    totals = [abs(sum(sign * value for sign, value in zip(signs, sums, strict=True))) for signs in _signs(len(sums))]
    return float(np.mean([total >= observed - 1e-6 for total in totals]))


def _signs(count: int) -> product[tuple[int, ...]]:
    return product((-1, 1), repeat=count)


@given(st.lists(shares, min_size=1, max_size=9))
def test_small_inputs_are_exact(sums: list[float]) -> None:
    assert sign_flip_p_value(np.array(sums)) == pytest.approx(brute_force(sums))


@given(st.lists(shares, min_size=1, max_size=40))
def test_exchanged_sides_have_the_same_p_value(sums: list[float]) -> None:
    assert sign_flip_p_value(np.array(sums)) == sign_flip_p_value(-np.array(sums))


def test_scipy_says_the_same() -> None:
    from scipy.stats import permutation_test  # 0.3 s of each process that collects the tests

    sums = np.array([0.5, 0.25, -0.25, 1.0, 0.75, -0.5, 0.5, 0.25, 0.0, 0.3])
    exact = permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=10_000)
    assert sign_flip_p_value(sums) == pytest.approx(exact.pvalue)


@pytest.mark.parametrize(
    ("sums", "p_value"),
    [
        ([], 1.0),
        ([0.0, 0.0], 1.0),
        ([0.5], 1.0),  # one cluster: either sign is as extreme
        ([0.5, -0.5], 1.0),
        ([0.25] * 10, 2 / 2**10),
        ([0.25] * 30, 2 / 2**30),
        ([0.25] * 1000, LEAST),
        ([1 / 7 + 1 / 3, 0.1 + 0.2, 0.3, -0.3], 0.5),
    ],
)
def test_edges_have_a_p_value(sums: list[float], p_value: float) -> None:
    assert sign_flip_p_value(np.array(sums)) == pytest.approx(p_value)


def convolved(units: NDArray[np.int64]) -> float:
    """The p-value of whole numbers, by adding one after the other to the distribution of the total."""
    largest = int(np.abs(units).sum())
    chances = np.zeros(2 * largest + 1)
    chances[largest] = 1
    for unit in np.abs(units[units != 0]):
        chances = (np.roll(chances, unit) + np.roll(chances, -unit)) / 2
    totals = np.abs(np.arange(-largest, largest + 1))
    return float(chances[totals >= abs(units.sum())].sum())


@pytest.mark.parametrize(("clusters", "parts"), [(24, 4), (60, 12), (400, 4), (1615, 1)])
def test_many_clusters_are_exact_to_the_thirteenth_decimal(clusters: int, parts: int) -> None:
    rng = np.random.default_rng(clusters)
    for shift in (0.0, 0.5, 1.0):
        units = np.rint(rng.normal(shift * parts / clusters**0.5, 0.5 * parts, clusters)).astype(np.int64)
        assert sign_flip_p_value(units / parts) == pytest.approx(convolved(units), abs=1e-13)


def test_recalls_of_a_whole_benchmark_have_one_p_value_whatever_the_order() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(5)
    totals = rng.integers(2, 11, 1615)
    sums = (rng.binomial(totals, 0.42) - rng.binomial(totals, 0.4)) / totals
    drawn = permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=4_000, rng=rng, batch=500)
    exact = sign_flip_p_value(sums)
    assert exact == pytest.approx(drawn.pvalue, abs=4 * sqrt(exact * (1 - exact) / 4_000))
    assert sign_flip_p_value(rng.permutation(sums)) == exact


@pytest.mark.parametrize("clusters", [12, 18, 1615])
def test_differences_without_a_lattice_are_within_a_hundredth(clusters: int) -> None:
    """Against all flips, or, of many, against a lattice eight times as fine."""
    sums = np.random.default_rng(clusters).normal(2.2 / sqrt(clusters), 1, clusters)
    found = sign_flip_p_value(sums)
    if clusters < 20:
        assert found == pytest.approx(brute_force(sums.tolist()), rel=0.01)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sign_flip, "_ROUNDED_POINTS", 2**20)
            assert found == pytest.approx(sign_flip_p_value(sums), rel=0.01)


def test_a_true_null_is_rejected_as_often_as_the_level_says() -> None:
    """2,000 comparisons of 40 clusters; the share below 5% has a standard error of 0.005."""
    sums = np.random.default_rng(8).integers(-4, 5, (2000, 40)) / 4
    share = np.mean([sign_flip_p_value(row) < 0.05 for row in sums])
    assert 0.03 < share <= 0.065

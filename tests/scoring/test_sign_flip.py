"""The sign-flip test against all flips written out, against SciPy's, and under a true null."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test

from eibench_ray.scoring import paired_tests
from eibench_ray.scoring.paired_tests import FLIPS, sign_flip_p_value

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
    assert sign_flip_p_value(np.array(sums), seed=0) == pytest.approx(brute_force(sums))


@given(st.lists(shares, min_size=1, max_size=40))
def test_exchanged_sides_have_the_same_p_value(sums: list[float]) -> None:
    assert sign_flip_p_value(np.array(sums), 0) == sign_flip_p_value(-np.array(sums), 0)


def test_scipy_says_the_same() -> None:
    sums = np.array([0.5, 0.25, -0.25, 1.0, 0.75, -0.5, 0.5, 0.25, 0.0, 0.3])
    exact = permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=10_000)
    assert sign_flip_p_value(sums, 0) == pytest.approx(exact.pvalue)


@pytest.mark.parametrize(
    ("sums", "p_value"),
    [
        ([], 1.0),
        ([0.0, 0.0], 1.0),
        ([0.5], 1.0),  # one cluster: either sign is as extreme
        ([0.5, -0.5], 1.0),
        ([0.25] * 10, 2 / 2**10),
        ([0.25] * 1000, 2 / 2**1000),
        ([0.25] * 2000, sys.float_info.min),
    ],
)
def test_edges_have_a_p_value(sums: list[float], p_value: float) -> None:
    assert sign_flip_p_value(np.array(sums), 0) == pytest.approx(p_value)


def test_drawn_flips_are_near_the_exact_ones_and_never_give_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.random.default_rng(3).integers(-4, 7, 60) / 4
    exact = sign_flip_p_value(sums, 0)
    assert 0.001 < exact < 0.2
    monkeypatch.setattr(paired_tests, "_FEW_SUMS", 1)
    drawn = sign_flip_p_value(sums, 0)
    assert drawn == pytest.approx(exact, abs=4 * (exact / FLIPS) ** 0.5)
    assert drawn == sign_flip_p_value(sums, 0) != sign_flip_p_value(sums, 1)
    assert sign_flip_p_value(np.full(60, 1.0), 0) == 1 / (1 + FLIPS)


def test_drawing_in_parts_changes_nothing_but_the_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.random.default_rng(4).normal(0.2, 1, 40)
    whole = sign_flip_p_value(sums, 0)
    monkeypatch.setattr(paired_tests, "_DRAWN_AT_ONCE", 40 * 999)
    assert sign_flip_p_value(sums, 0) == pytest.approx(whole, abs=0.02)

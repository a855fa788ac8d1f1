"""The sign-flip test: whether a sum of paired differences is more than chance, exactly, for thousands of clusters.

Where two sides are equally good, the difference of each cluster might as well have the other sign. The p-value is the
share of all 2^n ways to sign them whose total is at least as far from 0:

    >>> import numpy as np
    >>> sign_flip_p_value(np.array([0.5, 0.25, 0.25]))  # 2 of the 8 ways
    0.25
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, pi, sqrt

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-12  # smaller p-values are not told apart from it: the sum of the series is exact to 1e-13
_NEGLIGIBLE = 34.0  # -log of what adds nothing: 2 exp(-34) is 3e-15
_MOST_POINTS = 2**20  # of a common lattice: 5 ms
_ROUNDED_POINTS = 2**17  # where there is none
_MOST_PARTS = 1_000  # into which a value of the common lattice is divided


def sign_flip_p_value(sums: NDArray[np.float64]) -> float:
    """Two-sided p-value of the total, in [LEAST, 1]; 1 where there is nothing to flip.

    The totals lie on a lattice (values in halves and in thirds: sixths), so that the chance of each follows from the
    characteristic function of the total, the product of cos(theta a) over the clusters' amounts a, at as many
    frequencies as the lattice has points. Their sum is taken for all totals at once. Most frequencies add nothing:
    those that the first amounts make vanish are dropped. What has no common lattice, or one too fine, is rounded to one
    of 100,000 points: that is the exact test of a sum of rounded differences, whose p-value is off by less than a
    hundredth.

    Args:
        sums: per cluster, the sum of its differences.

    Source: Feller, An Introduction to Probability Theory and Its Applications II (1971), XV, for the inversion on a
    lattice; Hoeffding (1963) for the totals that are too far out to occur.
    """
    units = _to_lattice(sums)
    total = abs(int(units.sum()))
    amounts, number = np.unique(np.abs(units), return_counts=True)
    amounts, number = amounts[amounts > 0], number[amounts > 0]
    if not total:
        return 1.0
    squares = float(number @ amounts.astype(np.float64) ** 2)
    if total**2 / (2 * squares) > _NEGLIGIBLE:
        return LEAST
    largest = min(int(number @ amounts), ceil(sqrt(2 * _NEGLIGIBLE * squares)))
    # Totals of one parity occur. Beyond `largest` none does, so that the period 2 * points keeps the others apart.
    points = 1 << max((largest + total) // 2, 1).bit_length()
    inner = _sum_series(amounts, number, total - 1, points)
    return min(1.0, max(1 - inner, LEAST))


def _sum_series(amounts: NDArray[np.int64], number: NDArray[np.int64], width: int, points: int) -> float:
    """Chance of the `width` totals around 0, every second number, by Fourier inversion over `points` frequencies."""
    logs, cosines, sines = _table(points)
    # By symmetry, half the frequencies do; those of pi / 2 and of 0 stand alone.
    kept = np.arange(1, points // 2 + 1)
    log_size: NDArray[np.float64] = np.zeros(len(kept))
    order = number.argsort()[::-1]
    for amount, count in zip(amounts[order].tolist(), number[order].tolist(), strict=True):
        log_size += count * logs[amount * kept & points - 1]
        is_felt = log_size > -_NEGLIGIBLE - 10
        kept, log_size = kept[is_felt], log_size[is_felt]
    is_negative = np.zeros(len(kept), np.bool_)
    for amount in amounts[number % 2 == 1].tolist():
        is_negative ^= cosines[amount * kept & 2 * points - 1] < 0
    kernel = sines[width * kept & 2 * points - 1] / sines[kept]
    terms = np.where(is_negative, -1, 1) * np.exp(log_size) * kernel
    terms[kept < points // 2] *= 2
    return (width + float(terms.sum())) / points


@lru_cache(maxsize=4)
def _table(points: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms of |cos| of pi i / points, for i up to points, and cos and sin of it for i up to twice as many."""
    angles = np.arange(2 * points) * (pi / points)
    sines, cosines = np.sin(angles), np.cos(angles)
    with np.errstate(divide="ignore"):
        logs = 0.5 * np.log1p(-(sines[:points] ** 2))  # exact near 0, where the powers are high
    return logs, cosines, sines


def _to_lattice(sums: NDArray[np.float64]) -> NDArray[np.int64]:
    """The sums as whole multiples of one amount, rounded where there is none or there are too many."""
    largest = float(np.abs(sums).max(initial=0.0))
    if not largest:
        return np.zeros(len(sums), np.int64)
    span = largest + 8 * sqrt(float(sums @ sums))
    amounts = np.unique(np.abs(sums))
    parts = 1
    while parts * span <= _MOST_POINTS:
        scaled = amounts * parts
        off = np.abs(scaled - scaled.round()) > 1e-7 * parts
        if not off.any():
            return (sums * parts).round().astype(np.int64)
        parts *= max(2, Fraction(float(scaled[off][0])).limit_denominator(_MOST_PARTS).denominator)
    return (sums * (_ROUNDED_POINTS / span)).round().astype(np.int64)

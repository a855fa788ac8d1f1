"""Two sides of the same samples: how far apart their means are, how sure that is, and whether chance explains it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from eibench_ray.scoring.interval import Resampling, bootstrap_interval


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """First minus second, over the samples that both have.

    Attributes:
        first, second: their means; None where n is 0.
        ci_low, ci_high: bootstrap interval, clustered by image; None where there are fewer than two clusters.
        p_value: of the sign-flip test, clustered by image; 1 where no difference can be told; None where n is 0.
    """

    n: int  # those samples
    num_clusters: int  # pictures among them
    first: float | None
    second: float | None
    difference: float | None  # None where n is 0
    ci_low: float | None
    ci_high: float | None
    p_value: float | None


def compare_paired(
    first: NDArray[np.float64], second: NDArray[np.float64], clusters: NDArray[np.int32], resampling: Resampling
) -> PairedDifference:
    """The difference between two sides of the same samples.

    The interval and the p-value answer different questions (how large; could it be nothing) by different means, so
    that at the edge one may say yes where the other says no.

    Args:
        first: (samples,), NaN where this side has no value.
        second: (samples,), likewise.
        clusters: (samples,), the code of each sample's cluster.
        resampling: of the interval; the test takes its seed.
    """
    has_both = ~(np.isnan(first) | np.isnan(second))
    order = clusters[has_both].argsort(kind="stable")
    mine, theirs = first[has_both][order], second[has_both][order]
    if not len(mine):
        return PairedDifference(0, 0, None, None, None, None, None, None)
    differences = mine - theirs
    _, starts, sizes = np.unique(clusters[has_both][order], return_index=True, return_counts=True)
    values, codes = np.unique(differences, return_inverse=True)
    difference = float(differences.mean())
    low: float | None = None
    high: float | None = None
    if len(sizes) > 1:
        low = high = difference
        if len(values) > 1:
            low, high = bootstrap_interval(codes.astype(np.int32), sizes, values.tolist(), resampling)
    return PairedDifference(
        n=len(differences),
        num_clusters=len(sizes),
        first=float(mine.mean()),
        second=float(theirs.mean()),
        difference=difference,
        ci_low=low,
        ci_high=high,
        p_value=sign_flip_p_value(np.add.reduceat(differences, starts), resampling.seed),
    )


def adjust_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values adjusted by Holm's step-down method, in their order; None is no test and stays None.

    The chance of even one false alarm in a table stays below the level, whatever the comparisons share (all pairs of
    some models share their cells). Not Benjamini-Hochberg (`scipy.stats.false_discovery_control`): it allows a share
    of false alarms, and assumes a dependence that pairs do not have; a reader quotes single lines of a table.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).
    """
    tested = [index for index, p_value in enumerate(p_values) if p_value is not None]
    values = np.array([p_values[index] for index in tested], dtype=np.float64)
    order = values.argsort(kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted: list[float | None] = [None] * len(p_values)
    for rank, value in zip(order.tolist(), np.minimum(np.maximum.accumulate(stepped), 1.0).tolist(), strict=True):
        adjusted[tested[rank]] = value
    return adjusted


FLIPS = 19_999  # the smallest p-value they can give is 1 in 20,000
_FEW_SUMS = 2**17  # beyond, adding them up takes longer than drawing
_DRAWN_AT_ONCE = 500_000
_DECIMALS = 9  # sums that differ by less are one: 0.1 + 0.2 and 0.3


def sign_flip_p_value(sums: NDArray[np.float64], seed: int) -> float:
    """Two-sided p-value of the total, in (0, 1]; 1 where there is nothing to flip.

    Args:
        sums: per cluster, the sum of its differences.
        seed: of the flips, where they are drawn.
    """
    amounts, number = np.unique(np.abs(sums).round(_DECIMALS), return_counts=True)
    amounts, number = amounts[amounts > 0], number[amounts > 0]
    least = abs(float(sums.sum())) - 1e-6  # ties count; the rounding of many sums is below that
    exact = _exact_tail(amounts, number, least)
    if exact is not None:
        return exact
    rng = np.random.default_rng(seed)
    extreme = 0
    batch = max(1, _DRAWN_AT_ONCE // len(amounts))
    for start in range(0, FLIPS, batch):
        turned = rng.binomial(number, 0.5, size=(min(batch, FLIPS - start), len(number)))
        extreme += int(np.count_nonzero(np.abs((2 * turned - number) @ amounts) >= least))
    return (1 + extreme) / (1 + FLIPS)


def _exact_tail(amounts: NDArray[np.float64], number: NDArray[np.int64], least: float) -> float | None:
    """Probability of a total of at least this size; None where too many totals can occur."""
    totals: NDArray[np.float64] = np.zeros(1)
    chances: NDArray[np.float64] = np.ones(1)
    for amount, count in zip(amounts.tolist(), number.tolist(), strict=True):
        if len(totals) * (count + 1) > _FEW_SUMS:
            return None
        turned = np.arange(count + 1)
        added: NDArray[np.float64] = (totals[:, None] + amount * (2 * turned - count)).round(_DECIMALS).ravel()
        both = (chances[:, None] * binom.pmf(turned, count, 0.5)).ravel()
        totals, which = np.unique(added, return_inverse=True)
        chances = np.bincount(which, weights=both).astype(np.float64)
    tail = float(chances[np.abs(totals) >= least].sum())
    return min(1.0, max(tail, sys.float_info.min))  # 0 would be 2 / 2**n, rounded

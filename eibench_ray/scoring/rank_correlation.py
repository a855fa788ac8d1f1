"""Whether two figures of the same samples rise together: Spearman's rank correlation and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from eibench_ray.scoring.interval import Resampling

_MIN_PAIRS = 3  # two points lie on a line, whatever they are
_WEIGHED_AT_ONCE = 500_000


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rho over the samples that have both figures; ties share their mean rank.

    Attributes:
        ci_low, ci_high: bootstrap interval, clustered by image; None without rho, or with fewer than two clusters.
    """

    n: int  # those samples
    rho: float | None  # None below three samples, or where either figure is the same for all
    ci_low: float | None = None
    ci_high: float | None = None


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> RankCorrelation:
    """The correlation alone, without an interval; NaN where there is no figure."""
    has_both = ~(np.isnan(first) | np.isnan(second))
    first, second = first[has_both], second[has_both]
    n = len(first)
    if n < _MIN_PAIRS or (first == first[0]).all() or (second == second[0]).all():
        return RankCorrelation(n, None)
    return RankCorrelation(n, float(spearmanr(first, second).statistic))


def correlate_ranks(
    first: NDArray[np.float64], second: NDArray[np.float64], clusters: NDArray[np.int32], resampling: Resampling
) -> RankCorrelation:
    """The correlation with its percentile interval, whole clusters resampled.

    Resamples in which a figure is the same for all have no rho and are left out of the interval.

    Args:
        first: (samples,), one figure, NaN where there is none.
        second: (samples,), the other, likewise.
        clusters: (samples,), the code of each sample's cluster.
        resampling: of the interval.
    """
    whole = spearman(first, second)
    has_both = ~(np.isnan(first) | np.isnan(second))
    names, members = np.unique(clusters[has_both], return_inverse=True)
    if whole.rho is None or len(names) < 2:
        return whole
    rng = np.random.default_rng(resampling.seed)
    x = np.unique(first[has_both], return_inverse=True)[1]
    y = np.unique(second[has_both], return_inverse=True)[1]
    if len(names) == len(members):
        x, y, number = _kinds(x, y)
        weigh = partial(_draw_kinds, number, rng)
    else:
        weigh = partial(_draw_clusters, members, rng)
    batch = max(1, min(resampling.resamples, _WEIGHED_AT_ONCE // len(x)))
    found = []
    for start in range(0, resampling.resamples, batch):
        found.append(weighted_rho(x, y, weigh(min(batch, resampling.resamples - start))))
    rhos = np.concatenate(found)
    rhos = rhos[~np.isnan(rhos)]
    if not len(rhos):
        return whole
    low, high = np.quantile(rhos, ((1 - resampling.confidence) / 2, (1 + resampling.confidence) / 2))
    return RankCorrelation(whole.n, whole.rho, float(low), float(high))


def weighted_rho(
    first: NDArray[np.int64], second: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Spearman's rho of each resample, NaN where a figure is the same for all of it.

    2,000 resamples of 1,615 samples take 0.1 s, one spearmanr after the other 0.7 s.

    Args:
        first: (samples,), one figure as its rank among those that occur, from 0 and without gaps.
        second: (samples,), the other, likewise.
        weights: (resamples, samples), how often each sample, or each kind of equal ones, is in a resample.
    """
    middle = (weights.sum(axis=1, keepdims=True) + 1) / 2
    x, y = _mean_ranks(first, weights) - middle, _mean_ranks(second, weights) - middle
    together = (weights * x * y).sum(axis=1)
    apart = np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))
    rhos: NDArray[np.float64] = np.divide(together, apart, out=np.full(len(weights), np.nan), where=apart > 0)
    return rhos


def _kinds(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of figures that occur, and how often each does: samples that stand alone need no more."""
    width = int(second.max()) + 1
    kinds, number = np.unique(first * width + second, return_counts=True)
    return kinds // width, kinds % width, number


def _draw_kinds(number: NDArray[np.int64], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """(Resamples, kinds): how often each is drawn, where every sample is a cluster."""
    total = number.sum()
    return rng.multinomial(total, number / total, size=resamples).astype(np.float64)


def _draw_clusters(members: NDArray[np.int64], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """(Resamples, samples): how often each is drawn with its cluster.

    Args:
        members: (samples,), the cluster of each, from 0 and without gaps.
        rng: draws.
        resamples: how many.
    """
    total = int(members.max()) + 1
    drawn = rng.integers(total, size=(resamples, total)) + total * np.arange(resamples)[:, None]
    times = np.bincount(drawn.ravel(), minlength=resamples * total).reshape(resamples, total)
    return np.take(times, members, axis=1).astype(np.float64)


def _mean_ranks(codes: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each sample in each resample, that of equal figures being the mean of theirs."""
    order = codes.argsort(kind="stable")
    starts = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    equal: NDArray[np.float64] = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: NDArray[np.float64] = equal.cumsum(axis=1) - (equal - 1) / 2
    return np.take(ranks, codes, axis=1)

"""Whether two figures of the same samples rise together: Spearman's rank correlation and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import atanh, tanh

import numpy as np
from numpy.typing import NDArray

from eibench_ray.scoring.cluster_mean import estimate_mean, t_interval

_MIN_PAIRS = 3  # two points lie on a line, whatever they are


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rho over the samples that have both figures; ties share their mean rank.

    Attributes:
        ci_low, ci_high: clustered by image; None without rho, with fewer than two clusters, or where no
            sample would move rho, as where it is 1 or -1.
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
    from scipy.stats import spearmanr  # a second of each command that asks for none

    return RankCorrelation(n, float(spearmanr(first, second).statistic))


def correlate_ranks(
    first: NDArray[np.float64], second: NDArray[np.float64], clusters: NDArray[np.int32], confidence: float
) -> RankCorrelation:
    """The correlation with its interval: Student's t on Fisher's scale, atanh(rho), so that it stays within -1 and 1.

    The standard error is that of the mean of the samples' influences on rho, by cluster; they have the ranks' own
    error in.

    Args:
        first: (samples,), one figure, NaN where there is none.
        second: (samples,), the other, likewise.
        clusters: (samples,), the code of each sample's cluster.
        confidence: of the interval.

    Source: Croux and Dehon, Influence Functions of the Spearman and Kendall Correlation Measures (2010).
    """
    whole = spearman(first, second)
    has_both = ~(np.isnan(first) | np.isnan(second))
    if whole.rho is None or abs(whole.rho) > 1 - 1e-12:
        return whole
    influence = estimate_mean(_influences(first[has_both], second[has_both], whole.rho), clusters[has_both])
    if influence.standard_error is None:
        return whole
    on_fishers_scale = replace(
        influence, mean=atanh(whole.rho), standard_error=influence.standard_error / (1 - whole.rho**2)
    )
    interval = t_interval(on_fishers_scale, confidence)
    return RankCorrelation(whole.n, whole.rho, tanh(interval.low), tanh(interval.high)) if interval else whole


def _influences(first: NDArray[np.float64], second: NDArray[np.float64], rho: float) -> NDArray[np.float64]:
    """(samples,), how far one more sample like each would move rho, times their number."""
    x, y = _Ranks(first), _Ranks(second)

    def of_product(one: _Ranks, other: _Ranks) -> NDArray[np.float64]:
        product: NDArray[np.float64] = one.centred * other.centred
        return product + one.mean_above(other.centred) + other.mean_above(one.centred) - 3 * float(product.mean())

    spread_x, spread_y = (x.centred**2).mean(), (y.centred**2).mean()
    influences: NDArray[np.float64] = of_product(x, y) / np.sqrt(spread_x * spread_y)
    influences -= rho / 2 * (of_product(x, x) / spread_x + of_product(y, y) / spread_y)
    return influences


class _Ranks:
    """The mean ranks of a figure, as shares of the samples.

    Args:
        values: (samples,), the figure.
    """

    def __init__(self, values: NDArray[np.float64]) -> None:
        _, self._codes, number = np.unique(values, return_inverse=True, return_counts=True)
        self._num_samples = len(values)
        self.centred: NDArray[np.float64] = ((number.cumsum() - number / 2) / len(values) - 0.5)[self._codes]

    def mean_above(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(samples,), the sum of the weights of the samples above each, and half that of its equals, by their number.

        That is how far one more sample of its value, by raising the ranks above, moves the mean of rank times weight.
        """
        sums = np.bincount(self._codes, weights=weights)
        above = sums.sum() - sums.cumsum() + sums / 2
        shares: NDArray[np.float64] = (above / self._num_samples)[self._codes]
        return shares

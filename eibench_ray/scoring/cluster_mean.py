"""A mean over clustered samples, and its interval in closed form.

Samples of one cluster (the questions about one picture) are alike, so the clusters count, not the samples. 24 right
answers of 24, each to a picture of its own:

    >>> import numpy as np
    >>> mean = estimate_mean(np.ones(24), np.arange(24))
    >>> proportion_interval(mean, 0.95)
    Interval(low=0.8486..., high=1.0)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import fsum, inf, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW_CLUSTERS = 10  # below, the spread between clusters is hardly known, and an interval deserves a warning
_UNSEEN = 1 / 16  # of the root of the number of clusters: the weight of what was not seen
# OpenBLAS gives longer ones to threads: they spin for as long again, and their number changes the last digit.
_DOT_LENGTH = 8192
_NO_SPREAD = 1e-12  # standard errors below are rounding, for values around 1


@dataclass(frozen=True, slots=True)
class Interval:
    """The ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClusterMean:
    """The mean over samples, with the standard error that the spread between clusters gives it.

    Attributes:
        standard_error: cluster-robust; None below two clusters, where no spread can be seen.
        degrees_of_freedom: of the standard error: clusters less one. Clusters of unequal size count for fewer, as many
            as equal ones would have to be for a mean as sure: 100 samples in ten, half of them in one, are as good as
            3.6 equal ones. At least 1.
    """

    n: int  # samples
    num_clusters: int
    mean: float
    standard_error: float | None
    degrees_of_freedom: float


def estimate_mean(values: NDArray[Any], clusters: NDArray[Any]) -> ClusterMean:
    """The mean over samples and its standard error, by linearisation: G / (G - 1) sum (sum of residuals)^2 / n^2.

    Args:
        values: (samples,), at least one, without NaN.
        clusters: (samples,), the code of each sample's cluster, from 0; gaps are fine.

    Sources: Cochran, Sampling Techniques (1977), chapter 9A; `svymean` of the R package survey does the same. For the
    degrees of freedom, Satterthwaite's with Kish's effective number of clusters n^2 / sum (size^2).
    """
    import numpy as np

    n, mean = len(values), fsum(values.tolist()) / len(values)  # rounded once, in whatever order they come
    sizes = np.bincount(clusters)
    num_clusters = int(np.count_nonzero(sizes))
    if num_clusters < 2:
        return ClusterMean(n, num_clusters, mean, None, 1.0)
    residuals = np.bincount(clusters, weights=values - mean)
    blocks = (residuals[start : start + _DOT_LENGTH] for start in range(0, len(residuals), _DOT_LENGTH))
    variance = num_clusters / (num_clusters - 1) * sum(float(block @ block) for block in blocks) / n**2
    return ClusterMean(n, num_clusters, mean, sqrt(variance), max(n**2 / float(sizes @ sizes) - 1, 1.0))


def t_interval(mean: ClusterMean, confidence: float) -> Interval | None:
    """Student's t interval.

    None below two clusters, and where the values show no spread: a width of 0 would promise what nobody knows.
    """
    if not mean.standard_error or mean.standard_error < _NO_SPREAD * max(1.0, abs(mean.mean)):
        return None
    half = _critical(mean, confidence) * mean.standard_error
    return Interval(mean.mean - half, mean.mean + half)


def proportion_interval(mean: ClusterMean, confidence: float) -> Interval | None:
    """Wilson's interval of a mean m over values in [0, 1], with the effective sample size; None below two clusters.

    The effective sample size is that of independent right or wrong answers with the same standard error,
    m (1 - m) / se^2. As the spread is estimated, Student's t takes the place of the normal quantile. Near 0 and 1, and
    with few clusters, the spread is mostly underestimated: what was not seen has none. So the spread of some cluster
    more is added, of mean size, whose samples are all right or all wrong: sqrt(G) / 16 of one, which is nothing beside
    many clusters and much beside five alike. Where no spread was seen at all, the clusters count as so many samples.

    Sources: Korn and Graubard, Confidence Intervals for Proportions with Small Expected Number of Positive Counts
    Estimated from Survey Data (1998), with Wilson's interval in the place of Clopper and Pearson's, which covers more
    often than it says. The weight is the least that covers in the simulations of the tests.
    """
    if mean.standard_error is None:
        return None
    share = min(max(mean.mean, 0.0), 1.0)
    unseen = _UNSEEN / sqrt(mean.num_clusters) / 4
    per_sample = 1 / mean.num_clusters
    if mean.standard_error > _NO_SPREAD:
        per_sample = (mean.standard_error**2 + unseen * per_sample) / (share * (1 - share) + unseen)
    excess = _critical(mean, confidence) ** 2 * per_sample
    centre = (share + excess / 2) / (1 + excess)
    half = sqrt(excess * share * (1 - share) + excess**2 / 4) / (1 + excess)
    return Interval(max(centre - half, 0.0), min(centre + half, 1.0))


def bounds_interval(
    lower: ClusterMean,
    upper: ClusterMean,
    confidence: float,
    interval_of: Callable[[ClusterMean, float], Interval | None],
) -> Interval | None:
    """Interval of a mean that is only known to lie between two others; None where one of those has none.

    It holds the mean itself as often as `confidence` says, wherever between the two it lies. If they lie far apart, it
    can be missed on one side only: the ends are those of two intervals of 90%, not 95%. If they are one, those of 95%.
    In between, what is needed follows from how far apart they are, in standard errors.

    Args:
        lower: the mean where all that is missing is as low as can be.
        upper: the mean where it is as high as can be.
        confidence: of the interval.
        interval_of: the interval of either.

    Source: Imbens and Manski, Confidence Intervals for Partially Identified Parameters (2004), equation 7, with
    Student's t in the place of the normal distribution.
    """
    errors = [mean.standard_error for mean in (lower, upper) if mean.standard_error is not None]
    apart = (upper.mean - lower.mean) / max(errors) if len(errors) == 2 and max(errors) > _NO_SPREAD else inf
    level = _level_of_ends(apart, confidence, min(lower.degrees_of_freedom, upper.degrees_of_freedom))
    of_lower, of_upper = interval_of(lower, level), interval_of(upper, level)
    return Interval(of_lower.low, of_upper.high) if of_lower and of_upper else None


def _level_of_ends(apart: float, confidence: float, degrees_of_freedom: float) -> float:
    """The confidence of the intervals whose outer ends are those of Imbens and Manski's."""
    from scipy.special import stdtr, stdtrit

    least, most = (float(stdtrit(degrees_of_freedom, share)) for share in (confidence, (1 + confidence) / 2))
    for _ in range(40):  # halves: 12 digits
        middle = (least + most) / 2
        covered = stdtr(degrees_of_freedom, middle + apart) - stdtr(degrees_of_freedom, -middle)
        least, most = (middle, most) if covered < confidence else (least, middle)
    return 2 * float(stdtr(degrees_of_freedom, most)) - 1


def _critical(mean: ClusterMean, confidence: float) -> float:
    from scipy.special import stdtrit  # scipy.stats takes a second to load

    return float(stdtrit(mean.degrees_of_freedom, (1 + confidence) / 2))

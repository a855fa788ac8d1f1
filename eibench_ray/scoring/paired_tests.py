"""Two sides of the same samples: how far apart their means are, how sure that is, and whether chance explains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from eibench_ray.scoring.cluster_mean import estimate_mean, t_interval
from eibench_ray.scoring.sign_flip import sign_flip_p_value


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """First minus second, over the samples that both have.

    Attributes:
        first, second: their means; None where n is 0.
        ci_low, ci_high: Student's t interval, clustered by image; None where there are fewer than two clusters, and
            where all differences are equal: nothing tells how they spread.
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


NOTHING_TO_COMPARE = PairedDifference(0, 0, None, None, None, None, None, None)


def compare_paired(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    clusters: NDArray[np.int32],
    confidence: float,
    span: float = inf,
) -> PairedDifference:
    """The difference between two sides of the same samples.

    The interval and the p-value answer different questions (how large; could it be nothing) by different means, so
    that at the edge one may say yes where the other says no.

    Args:
        first: (samples,), NaN where this side has no value.
        second: (samples,), likewise.
        clusters: (samples,), the code of each sample's cluster.
        confidence: of the interval.
        span: the greatest difference that there can be; the interval ends there.
    """
    has_both = ~(np.isnan(first) | np.isnan(second))
    if not has_both.any():
        return NOTHING_TO_COMPARE
    first, second, clusters = first[has_both], second[has_both], clusters[has_both]
    differences = first - second
    mean = estimate_mean(differences, clusters)
    interval = t_interval(mean, confidence)
    return PairedDifference(
        n=mean.n,
        num_clusters=mean.num_clusters,
        first=float(first.mean()),
        second=float(second.mean()),
        difference=mean.mean,
        ci_low=max(interval.low, -span) if interval else None,
        ci_high=min(interval.high, span) if interval else None,
        p_value=sign_flip_p_value(np.bincount(clusters, weights=differences).astype(np.float64)),
    )


def adjust_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values adjusted by Holm's step-down method, in their order; None is no test and stays None.

    The chance of even one false alarm in a family stays below the level, whatever the comparisons share (all pairs of
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


def is_below(p_value: float | None, confidence: float) -> bool:
    """Whether a p-value lies below the level that belongs to a confidence; 0.05 does not lie below 0.05.

    >>> 0.05 < 1 - 0.95, is_below(0.05, 0.95)
    (True, False)
    """
    return p_value is not None and p_value < (1 - confidence) * (1 - 1e-9)


def least_clusters(confidence: float, num_tests: int = 1) -> int:
    """Clusters without which no p-value of the sign-flip test, times the number of tests, lies below the level.

    >>> least_clusters(0.95)  # 2 / 2**5 is 0.0625
    6
    """
    clusters = 1
    while not is_below(num_tests * 2.0 ** (1 - clusters), confidence):
        clusters += 1
    return clusters

"""Two sides of the same samples: how far apart their means are, how sure that is, and whether chance explains it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eibench_ray.scoring.interval import Resampling, bootstrap_interval
from eibench_ray.scoring.sign_flip import sign_flip_p_value


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """First minus second, over the samples that both have.

    Attributes:
        n: those samples.
        num_clusters: pictures among them.
        first, second: their means; None where n is 0.
        difference: None where n is 0.
        ci_low, ci_high: bootstrap interval, clustered by image; None where there are fewer than two clusters.
        p_value: of the sign-flip test, clustered by image; 1 where no difference can be told; None where n is 0.
    """

    n: int
    num_clusters: int
    first: float | None
    second: float | None
    difference: float | None
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

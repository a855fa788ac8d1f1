"""A mean against an earlier measurement of the same samples: do the two differ, and could they by more than a margin?

Of the earlier one only the figure is known, so its error is taken to be as large as that of the mean at hand. Right of
1,615 answers 870, where 53.82% were before:

    >>> import numpy as np
    >>> from functools import partial
    >>> from eibench_ray.scoring.cluster_mean import estimate_mean, proportion_interval
    >>> mean = estimate_mean(np.arange(1615) < 870, np.arange(1615))
    >>> shift = Interval(mean.mean - 0.5382, mean.mean - 0.5382)
    >>> found = compare_repeated(mean.mean, shift, partial(proportion_interval, mean))
    >>> found.is_within(0.05), round(found.p_value, 2)
    (True, 0.98)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot

from eibench_ray.scoring.cluster_mean import Interval

LEVEL = 0.05  # of each test
_SURE = 1 - 1e-12  # confidence beyond which p-values are not told apart
_STEP = 1e-15  # the last bit of a confidence near 1


@dataclass(frozen=True, slots=True)
class RepeatedComparison:
    """A mean minus an earlier measurement of it.

    Attributes:
        low, high: its 90% interval. Both one-sided tests at 5% reject a difference of a margin or more exactly where
            the interval lies within the margin (Schuirmann 1987).
        p_value: two-sided, of no difference.
    """

    low: float
    high: float
    p_value: float

    def is_within(self, margin: float) -> bool:
        """Whether differences of the margin or more, to either side, are rejected at LEVEL."""
        return -margin < self.low and self.high < margin


def compare_repeated(
    mean: float, shift: Interval, interval_at: Callable[[float], Interval | None]
) -> RepeatedComparison | None:
    """Whether chance explains the difference between a mean and an earlier one; None where no error is known.

    The difference of two means, each with an interval of its own, has an interval whose arms are the root of the sum of
    the squares of theirs (Newcombe 1998). Here both have that of the mean at hand. A repetition shares its samples with
    the first measurement, so of this error only the part of answers and verdicts counts; how large that is, one
    measurement cannot tell. It is at most the whole, and then the tests are exact; else they err to the side of
    calling fewer means different, and fewer alike.

    Args:
        mean: the one at hand.
        shift: between which values the difference lies before chance; one value twice, or more where the earlier
            figure was rounded, or where samples are missing here.
        interval_at: the interval of the one at hand, by its confidence.

    Source: Newcombe, Interval Estimation for the Difference Between Independent Proportions (1998), method 10.
    """
    if interval_at(1 - 2 * LEVEL) is None:
        return None

    def arm(confidence: float) -> float:
        around = interval_at(confidence)
        assert around is not None
        return hypot(around.high - mean, mean - around.low)

    reach = arm(1 - 2 * LEVEL)
    distance = max(shift.low, -shift.high, 0.0)
    return RepeatedComparison(shift.low - reach, shift.high + reach, 1 - _find_confidence(distance, arm))


def _find_confidence(distance: float, arm: Callable[[float], float]) -> float:
    """The confidence at which an interval's arm is as long as the distance."""
    from scipy.optimize import brentq

    if arm(_SURE) <= distance:
        return _SURE
    return float(brentq(lambda confidence: arm(confidence) - distance, 0.0, _SURE, xtol=_STEP))

"""Krippendorff's alpha: how much of the spread between values is not disagreement between those who gave them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def interval_alpha(values: NDArray[np.float64]) -> float | None:
    """Alpha at the interval level: 1 is full agreement, 0 is what chance gives, below 0 is worse than chance.

    None where nobody can disagree: no unit was given two values, or all values are the same (Krippendorff leaves alpha
    undefined there). Differences are squared; a unit with one value says nothing and is left out.

    Args:
        values: (observers, units), NaN where an observer gave none.

    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D, with the sums over pairs
    written as sums of squares: over all pairs of m values, (x - y)^2 adds up to m times their squared deviations.
    """
    has_value = ~np.isnan(values)
    number = has_value.sum(axis=0)
    pairable = number > 1
    units, is_there, number = values[:, pairable], has_value[:, pairable], number[pairable]
    given = units[is_there]
    if not len(given) or (given == given[0]).all():
        return None
    # nan_to_num: what is not there adds nothing
    means = np.nan_to_num(units).sum(axis=0) / number
    squares = np.nan_to_num(units - means) ** 2
    observed = float((squares.sum(axis=0) * number / (number - 1)).sum()) / len(given)
    expected = float(((given - given.mean()) ** 2).sum()) / (len(given) - 1)
    return 1 - observed / expected

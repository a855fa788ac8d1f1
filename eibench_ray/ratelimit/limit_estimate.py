"""Estimates the limit that an endpoint keeps from what it let through and what it refused. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

# Rates around the mean of what was let through, in steps of 0.5%, and seconds' worth that an endpoint may save up.
_RATES = np.geomspace(0.7, 1.6, 166)
_SAVED_S = np.array([0.5, 1.0, 2.0, 5.0, 20.0, 60.0])
# What is that near to being let through, or to being refused, in requests, tells nothing. And a limit that explains
# hardly less than the best one may be the right one.
_TINY, _HARDLY = 0.05, 1.05
# Of so many the mean says enough: one request more or less is less than a percent.
_PLENTY = 150


def fit_limit(entered: Sequence[float], refused: Sequence[float]) -> float:
    """The rate per second of the token bucket that would have refused the same requests.

    The mean alone would not do: what an endpoint could have let through while it was asked for nothing, for instance
    after a Retry-After, is lost to it. Where several buckets would have refused the same, the rate is one between.

    Args:
        entered: when each request came, in seconds and in order; the first and the last one were refused, some between
            were let through.
        refused: when those came that were refused.
    """
    granted = len(entered) - len(refused)
    mean = granted / (entered[-1] - entered[0])
    if granted >= _PLENTY:
        return mean
    rate = (mean * _RATES)[:, None]
    most = np.maximum(rate * _SAVED_S, 1.0)
    level = np.full(most.shape, 0.5)
    wrong = np.zeros(most.shape)
    left = Counter(refused)
    last = entered[0]
    for at in entered[1:]:
        level += (at - last) * rate
        last = at
        if left[at] > 0:
            left[at] -= 1
            wrong += np.maximum(level - 1.0 - _TINY, 0.0)
            level = np.minimum(level, 1.0)
        else:
            level = np.minimum(level, most) - 1.0
            wrong += np.maximum(-level - _TINY, 0.0)
            level = np.maximum(level, 0.0)
    is_likely = wrong <= _HARDLY * wrong.min() + _TINY
    return float(np.median(np.broadcast_to(rate, most.shape)[is_likely]))

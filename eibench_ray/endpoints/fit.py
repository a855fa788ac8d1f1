"""Which limit an endpoint keeps, told from what it let through and what it refused. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Rates around the mean of what was let through, in steps of 0.5%, and seconds' worth that may be saved up.
_RATES = np.geomspace(0.7, 1.6, 166)
_SAVED_S = np.array([0.0, 0.25, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0])
# Few save up less. That one does is believed only where it explains each refusal so much better, in requests.
_USUAL_S, _DOUBT = 0.5, 0.1
# What is that near to being let through, or to being refused, in requests, tells nothing. And a limit that explains
# hardly less than the best one may be the right one.
_TINY, _HARDLY = 0.05, 1.05
# Ways to the endpoint differ by so much.
JITTER_S = 0.02
# Of so many the mean says enough: one request more or less is less than a percent.
_PLENTY = 150


@dataclass(frozen=True, slots=True)
class Fit:
    """A limit.

    Attributes:
        rate: requests per second at which the endpoint refuses none.
        burst: requests that it lets through at once.
    """

    rate: float
    burst: float


def fit_limit(entered: Sequence[float], refused: Sequence[float]) -> Fit:
    """The token bucket that would have refused the same requests; where several would have, the one in the middle.

    Args:
        entered: when each request came, in seconds and in order; the first and the last one were refused, some between
            were let through.
        refused: when those came that were refused.
    """
    granted = len(entered) - len(refused)
    mean = granted / (entered[-1] - entered[0])
    if granted >= _PLENTY:
        return Fit(mean, float("inf"))
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
    wrong[:, _SAVED_S < _USUAL_S] += _DOUBT * len(refused)
    is_good = wrong <= _HARDLY * wrong.min() + _TINY
    likely, saved = np.broadcast_to(rate, most.shape)[is_good], most[is_good]
    # An endpoint that saves nothing up refuses what comes early, so the next one has to come later.
    late_s = max(JITTER_S - float(np.max((saved - 1.0) / likely)), 0.0)
    return Fit(1.0 / (1.0 / float(np.median(likely)) + late_s), float(np.max(saved)))

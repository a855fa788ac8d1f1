"""Estimates the time that a run has left, from what is expected of it and from what it has done."""

from __future__ import annotations

import math

from eibench_ray.estimate.time_range import EXPECTED, HIGH, LOW, Range

_LEAST_LEFT_S = 1.0  # what a run has left that has anything left
LEAST_OF_RATE = 0.2  # of its rate so far: slower than that, a run stands still, and will hardly stay so


def estimate_left(
    horizon_s: float,
    prior_share: float,
    rows_left: int,
    rate: float | None = None,
    last_rate: float | None = None,
    rate_share: float = 1.0,
) -> Range | None:
    """The time that a run has left; None where it cannot be told.

    The horizon knows of loads and of what can be done at the same time, and as much of speeds as is measured; the rate
    of the rows is measured, but says nothing of engines that have done none of them. Each counts as far as it is to be
    trusted.

    Args:
        horizon_s: the shortest time into which what is left fits; math.inf where none is known.
        prior_share: share of the work whose speed is a prior still; what is measured is off by the loss alone.
        rows_left: rows that are not finished.
        rate: rows per second since the first one; None: not known.
        last_rate: rows per second of late, which may be another: the time left is uncertain by as much.
        rate_share: share of the finished rows that are of engines with rows left. A small model's rows, which are all
            through, are no guess at a large one's.
    """
    guesses = (LOW, EXPECTED, HIGH)
    is_known = _LEAST_LEFT_S <= horizon_s < math.inf
    if not rate:
        # A load that takes longer than it should leaves nothing to go by.
        return Range(*(horizon_s * one.loss / one.speed**prior_share for one in guesses)) if is_known else None
    rates = (rate, max(last_rate or 0.0, LEAST_OF_RATE * rate))
    rows_s = (rows_left / max(rates) / HIGH.loss, rows_left / rate, rows_left / min(rates) * HIGH.loss)
    if not is_known:
        return Range(*rows_s)
    by_rate, by_prior = prior_share * rate_share, prior_share * (1.0 - rate_share)
    low, expected, high = (
        (horizon_s * one.loss / one.speed**by_prior) ** (1.0 - by_rate) * own**by_rate
        for one, own in zip(guesses, rows_s, strict=True)
    )
    # Where the two differ, the range is of both.
    also = rows_s[1] ** rate_share * expected ** (1.0 - rate_share)
    return Range(min(low, also), expected, max(high, also))

"""Digits that figures are written with: as many as their errors allow, and those of a column alike.

>>> accuracy = Metric("accuracy")
>>> narrow, wide = (0.420, 0.444), (0.29, 0.68)
>>> digits_for(accuracy, [narrow, wide]), digits_for(accuracy, [wide])
(1, 0)
>>> show_interval(accuracy, *wide, digits=0)
'29 to 68'
"""

from __future__ import annotations

from collections.abc import Iterable
from math import floor, log10

from eibench_ray.scoring.scorer import Metric

NO_VALUE = "-"
_SHARE = Metric("share")


def digits_for(metric: Metric, intervals: Iterable[tuple[float | None, float | None]]) -> int:
    """Digits after the point of one column of values, by the narrowest of their intervals.

    The last digit stands for no less than a 36th, and no more than 1 / 3.55, of the standard error, which is a quarter
    of a 95% interval's width; but shares have whole points at least, and no metric has more digits than its `format`
    says. Those of `format` stand where no interval is known.

    Source: Particle Data Group, Review of Particle Physics, Introduction, "Rounding".
    """
    widths = [high - low for low, high in intervals if low is not None and high is not None and high > low]
    if not widths:
        return metric.digits
    error = min(widths) / 4 * (100 if metric.is_percent else 1)
    return min(max(-floor(log10(error / 3.55)), 0), metric.digits)


def show_interval(
    metric: Metric, low: float | None, high: float | None, sign: str = "", digits: int | None = None
) -> str:
    """Both ends of an interval or of bounds, as the metric is written: `93.1 to 97.2`; a dash where there is none."""
    if low is None or high is None:
        return NO_VALUE
    return f"{metric.show(low, sign, digits)} to {metric.show(high, sign, digits)}"


def show_share(share: float | None, digits: int | None = None) -> str:
    """A share in percent, which reads 0.0 or 100.0 only where it is: 2,999 of 3,000 are `>99.9`."""
    return NO_VALUE if share is None else _SHARE.show(share, digits=digits)


def show_coefficient(value: float | None) -> str:
    """A coefficient between -1 and 1, with its sign."""
    return NO_VALUE if value is None else f"{value:+.2f}"

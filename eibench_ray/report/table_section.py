"""A table in words, and its figures: a value, a difference, an estimate with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eibench_ray.scoring.rounding import NO_VALUE, show_interval

if TYPE_CHECKING:
    from eibench_ray.scoring.calibration import Estimate
    from eibench_ray.scoring.paired_tests import PairedDifference
    from eibench_ray.scoring.scorer import Metric


@dataclass(frozen=True, slots=True)
class Section:
    """One table in words."""

    title: str
    head: tuple[str, ...]  # headings; the terminal breaks them where they have a line's end
    num_words: int  # columns that stand left
    lines: tuple[tuple[str, ...], ...]
    strong: frozenset[int] = frozenset()  # numbers of the lines that stand out


def show_value(metric: Metric, value: float | None, sign: str = "", digits: int | None = None) -> str:
    """A value as its metric is written; a dash where there is none."""
    return NO_VALUE if value is None else metric.show(value, sign, digits)


def show_difference(metric: Metric, paired: PairedDifference, digits: int) -> tuple[str, str]:
    """A difference and its interval."""
    span = show_interval(metric, paired.ci_low, paired.ci_high, "+", digits)
    return show_value(metric, paired.difference, "+", digits), span


def show_estimate(estimate: Estimate | None, write: Callable[[float], str]) -> tuple[str, str]:
    """A figure and its interval."""
    if estimate is None:
        return NO_VALUE, NO_VALUE
    return write(estimate.value), show_span(estimate.ci_low, estimate.ci_high, write)


def show_p_value(p_value: float | None) -> str:
    """A p-value with two significant digits, below a millionth its bound.

    >>> show_p_value(0.05), show_p_value(0.00123), show_p_value(2e-9)
    ('0.050', '0.0012', '<1e-6')
    """
    if p_value is None:
        return NO_VALUE
    return "<1e-6" if p_value < 1e-6 else f"{p_value:#.2g}"


def show_span(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    """An interval; a dash where there is none."""
    return NO_VALUE if low is None or high is None else f"{write(low)} to {write(high)}"

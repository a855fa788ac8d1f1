"""The rule for claims: which are compared, and what the comparison shows.

A claim and a run are two measurements of the same samples, and both have the error of answers and verdicts. Nothing is
known of the claim's own, so it is taken to be as large as the run's (`scoring.equivalence`). Rounding the claim, and
samples without a score, leave a range of differences: each test takes the end of it that is against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eibench_ray.benchmarks.eibench.claims import CheckedClaim, Claim, ClaimOutcome
from eibench_ray.scoring.cell_columns import MIN_COVERAGE
from eibench_ray.scoring.cluster_mean import Interval
from eibench_ray.scoring.equivalence import LEVEL, compare_repeated
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.paired_tests import adjust_holm, is_below
from eibench_ray.scoring.scorer import Metric

_NO_ERROR = "no error can be told: the samples are of one picture, or have no spread"


def explain_rule(margin: float) -> str:
    """The rule in words, for a margin in percentage points."""
    return (
        f"verified: the {1 - 2 * LEVEL:.0%} interval of measured minus claimed lies within {margin:g} points (two "
        f"one-sided tests at {LEVEL:.0%}); not reproduced: the two differ (p by Holm's method is below {LEVEL:g}), and "
        f"may do so by {margin:g} points or more; unverified: neither can be shown (inconclusive), or nothing was "
        f"compared, for the reason that is given. Claims are compared where at least {MIN_COVERAGE:.0%} of the "
        f"published samples are scored"
    )


def explain_error() -> str:
    """The error that is assumed, in words."""
    return (
        "error: the claim has one, too, taken to be as large as the run's, clustered by picture. As samples are the "
        "same, this is too much where repeated answers hardly vary, and never too little. The claim's rounding, and "
        "samples without a score, which may have any value, come on top. A judge's systematic error is not in it"
    )


def explain_alarms(num_compared: int, margin: float) -> str:
    """The number of wrong outcomes to be expected, in words."""
    alone = f"{LEVEL * num_compared:.2g}"
    return (
        f"false alarms: {num_compared} compared. The chance that even one true claim among them is called different is "
        f"{LEVEL:.0%} or less (expected number: {LEVEL:g}; without Holm's method {alone}). A claim that is off by "
        f"{margin:g} points or more is verified with a chance of {LEVEL:.0%} or less (expected number, if all are off "
        f"so far: {alone})"
    )


def compare_claim(claim: Claim, measured: MetricSummary | None, metric: Metric) -> CheckedClaim:
    """The claim beside a run's figure, or the reason why the two cannot be compared.

    Args:
        claim: what was published.
        measured: the same mean in a run; None where the run has no such sample.
        metric: of that mean.
    """
    reason = _find_blocker(claim, measured)
    if reason or measured is None or measured.value is None:
        return CheckedClaim(claim, reason, measured)
    shift = _find_shift(claim, measured, metric)
    if shift is None:
        return CheckedClaim(claim, f"samples are missing, and {metric.name} has no bounds", measured)
    comparison = compare_repeated(measured.value, shift, measured.interval_at)
    return CheckedClaim(claim, "" if comparison else _NO_ERROR, measured, comparison)


def decide(compared: Sequence[CheckedClaim], margin: float) -> list[CheckedClaim]:
    """The claims with their outcomes, in their order; those that were compared are one family of tests.

    Args:
        compared: claims beside the run's figures.
        margin: percentage points; differences of less do not matter.
    """
    adjusted = adjust_holm([one.comparison.p_value if one.comparison else None for one in compared])
    return [_decide(one, p_holm, margin / 100) for one, p_holm in zip(compared, adjusted, strict=True)]


def _decide(one: CheckedClaim, p_holm: float | None, margin: float) -> CheckedClaim:
    if one.comparison is None:
        return one
    is_within = one.comparison.is_within(margin)
    outcome = ClaimOutcome.AGREES if is_within else ClaimOutcome.INCONCLUSIVE
    if is_below(p_holm, 1 - LEVEL):
        outcome = ClaimOutcome.DIFFERS
    return replace(one, p_holm=p_holm, outcome=outcome, is_within_margin=is_within)


def _find_blocker(claim: Claim, measured: MetricSummary | None) -> str:
    """The reason why the two cannot be compared; empty where they can."""
    if measured is None:
        return f"the run's dataset has no sample of {claim.emotion}"
    if measured.n > claim.samples:
        return f"the run's dataset has {measured.n:,} samples, the published one {claim.samples:,}"
    if measured.num_scored == 0:
        return "no verdict that counts"
    if measured.num_scored < MIN_COVERAGE * claim.samples:
        return f"{measured.num_scored:,} of {claim.samples:,} samples scored, {MIN_COVERAGE:.0%} are needed"
    return ""


def _find_shift(claim: Claim, measured: MetricSummary, metric: Metric) -> Interval | None:
    """Least and greatest difference that rounding and missing samples leave open; None where there is none."""
    absent = 1 - measured.n / claim.samples
    low = _fill(measured.bound_low, metric.low, absent)
    high = _fill(measured.bound_high, metric.high, absent)
    if low is None or high is None:
        return None
    return Interval(low - claim.share - claim.rounding, high - claim.share + claim.rounding)


def _fill(mean: float | None, value: float | None, absent: float) -> float | None:
    """The mean over all published samples, where those that the run does not have (a share) have this value."""
    if not absent:
        return mean
    return None if mean is None or value is None else (1 - absent) * mean + absent * value

"""The rule for claims: at its edges, and on simulated publications and runs of the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from numpy.typing import NDArray

from eibench_ray.benchmarks.eibench.claim_rule import compare_claim, decide, explain_alarms, explain_rule
from eibench_ray.benchmarks.eibench.claims import CheckedClaim, Claim, ClaimOutcome, ClaimStatus
from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.scoring.cluster_mean import ClusterMean
from eibench_ray.scoring.metric_summary import MetricSummary, SampleValues, summarise
from eibench_ray.scoring.scorer import Metric

MARGIN = 5.0


def claim(percent: str, samples: int = 1000, emotion: str = "overall") -> Claim:
    return Claim("d", "user_question", "m", "j", emotion, Decimal(percent), samples, label="M", source="a paper")


def measured(mean: float = 0.5, error: float = 0.005, n: int = 1000, num_scored: int | None = None) -> MetricSummary:
    """A run's figure; samples without a score may have any."""
    scored = n if num_scored is None else num_scored
    return MetricSummary(
        n=n,
        num_scored=scored,
        num_clusters=scored,
        value=mean if scored else None,
        ci_low=None,
        ci_high=None,
        bound_low=mean * scored / n,
        bound_high=(mean * scored + n - scored) / n,
        estimate=ClusterMean(scored, scored, mean, error, scored - 1) if scored else None,
    )


def check(percent: str, found: MetricSummary, margin: float = MARGIN) -> CheckedClaim:
    [checked] = decide([compare_claim(claim(percent), found, RECALL)], margin)
    return checked


@pytest.mark.parametrize(
    ("percent", "outcome"),
    # The interval of the difference has arms of 1.64 x 0.5 x sqrt(2) = 1.16 points at 90%, and of 1.39 at 95%.
    [
        ("50.00", ClaimOutcome.AGREES),
        ("48.70", ClaimOutcome.AGREES),
        ("51.30", ClaimOutcome.AGREES),
        ("46.00", ClaimOutcome.DIFFERS),
        ("54.00", ClaimOutcome.DIFFERS),
        ("104.00", ClaimOutcome.DIFFERS),  # the published recall is not clamped
    ],
)
def test_a_precise_run_tells_what_agrees_from_what_differs(percent: str, outcome: ClaimOutcome) -> None:
    assert check(percent, measured()).outcome is outcome


def test_a_difference_that_is_surely_less_than_the_margin_is_named_and_does_no_harm() -> None:
    checked = check("48.00", measured())
    assert (checked.outcome, checked.is_within_margin) == (ClaimOutcome.DIFFERS, True)
    assert checked.status is ClaimStatus.VERIFIED
    assert check("48.00", measured(), margin=2.0).status is ClaimStatus.NOT_REPRODUCED


def test_a_wide_interval_is_inconclusive_however_near_the_claim_is() -> None:
    checked = check("50.00", measured(error=0.04))
    assert (checked.outcome, checked.status) == (ClaimOutcome.INCONCLUSIVE, ClaimStatus.UNVERIFIED)
    assert check("50.00", measured(error=0.04), margin=10.0).outcome is ClaimOutcome.AGREES


def test_rounding_the_claim_widens_what_the_difference_may_be() -> None:
    exact, rough = (compare_claim(claim(percent), measured(), RECALL).comparison for percent in ("48.00", "48"))
    assert exact is not None
    assert rough is not None
    assert exact.low - rough.low == pytest.approx(0.00495)
    assert rough.high - exact.high == pytest.approx(0.00495)
    assert exact.p_value < rough.p_value


@pytest.mark.parametrize(("n", "num_scored"), [(1000, 960), (960, 960), (980, 960)])
def test_samples_without_a_score_may_have_any_whether_or_not_the_run_asked_them(n: int, num_scored: int) -> None:
    whole, part = (
        compare_claim(claim("50.00"), found, RECALL).comparison
        for found in (measured(), measured(0.5, 0.005, n, num_scored))
    )
    assert whole is not None
    assert part is not None
    assert whole.low - part.low == pytest.approx(0.02, abs=1e-5)  # half of 4%
    assert part.high - whole.high == pytest.approx(0.02, abs=1e-5)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "the run's dataset has no sample of overall"),
        (measured(num_scored=0), "no verdict that counts"),
        (measured(num_scored=949), "949 of 1,000 samples scored, 95% are needed"),
        (measured(n=200), "200 of 1,000 samples scored, 95% are needed"),  # a run with dataset.limit
        (measured(n=1001), "the run's dataset has 1,001 samples, the published one 1,000"),
        (
            replace(measured(), estimate=ClusterMean(1000, 1, 0.5, None, 1)),
            "no error can be told: the samples are of one picture, or have no spread",
        ),
    ],
)
def test_what_cannot_be_compared_says_why_and_joins_no_family(found: MetricSummary | None, reason: str) -> None:
    alone, other = compare_claim(claim("50.00"), found, RECALL), compare_claim(claim("50.00"), measured(), RECALL)
    assert (alone.status, alone.reason, alone.comparison) == (ClaimStatus.UNVERIFIED, reason, None)
    first, second = decide([alone, other], MARGIN)
    assert first == alone
    assert second.comparison is not None
    assert second.p_holm == second.comparison.p_value


def test_a_metric_without_bounds_cannot_miss_samples() -> None:
    found = replace(measured(num_scored=960), bound_high=None)
    checked = compare_claim(claim("50.00"), found, Metric("length", high=None))
    assert checked.reason == "samples are missing, and length has no bounds"


def test_holm_adjusts_over_all_that_is_compared() -> None:
    near = compare_claim(claim("48.50"), measured(), RECALL)  # 1.5 points off, p = 0.034
    [alone] = decide([near], 1.0)
    assert alone.outcome is ClaimOutcome.DIFFERS
    assert {one.outcome for one in decide([near] * 4, 1.0)} == {ClaimOutcome.INCONCLUSIVE}


def test_the_rule_and_the_false_alarms_to_expect_are_said_in_words() -> None:
    assert "within 2.5 points" in explain_rule(2.5)
    said = explain_alarms(10, MARGIN)
    assert "10 compared" in said
    assert "(expected number: 0.05; without Holm's method 0.5)" in said
    assert "off by 5 points or more is verified with a chance of 5% or less" in said


SIZES = {"happy": 91, "angry": 342, "sadness": 462, "excitement": 720}
OF_EMOTION = np.repeat(np.arange(4), list(SIZES.values()))
EACH_ITS_OWN = np.arange(len(OF_EMOTION), dtype=np.int32)
OF_FIFTY = np.repeat(np.arange(23, dtype=np.int32), [2] * 20 + [3, 3, 4])


def summary_of(values: NDArray[np.float64], clusters: NDArray[np.int32]) -> MetricSummary:
    return summarise(SampleValues(values, np.zeros(len(values), np.uint16), clusters, 1), RECALL, 0.95)


def simulate(
    clusters: NDArray[np.int32], noise: float, gap: float, parts: Mapping[str, NDArray[np.bool_]], trials: int
) -> Iterator[list[CheckedClaim]]:
    """Claims and runs of the same samples of five triggers; answers are drawn anew with a chance of `noise`."""
    rng = np.random.default_rng(5)
    for _ in range(trials):
        chances = rng.beta(0.9, 1.1, len(clusters))[clusters][:, None] * (1 - gap)
        luck, new_luck = rng.random((2, len(clusters), 5))
        is_new = rng.random((len(clusters), 1)) < noise
        published = (luck < chances).mean(axis=1)
        repeated = (np.where(is_new, new_luck, luck) < chances + gap).mean(axis=1)
        yield decide(
            [
                compare_claim(
                    claim(f"{100 * published[part].mean():.2f}", int(part.sum()), name),
                    summary_of(repeated[part], clusters[part]),
                    RECALL,
                )
                for name, part in parts.items()
            ],
            MARGIN,
        )


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_of_a_true_row_of_figures_hardly_any_is_called_different(noise: float) -> None:
    parts = {name: number == OF_EMOTION for number, name in enumerate(SIZES)}
    parts["overall"] = np.full(len(OF_EMOTION), True)
    found = list(simulate(EACH_ITS_OWN, noise, 0.0, parts, 150))
    alarms = sum(any(one.outcome is ClaimOutcome.DIFFERS for one in row) for row in found)
    assert alarms <= 150 * 0.05
    assert sum(row[-1].status is ClaimStatus.VERIFIED for row in found) >= 150 * 0.95


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("gap", [0.0, 0.05])
def test_fifty_samples_verify_nothing(noise: float, gap: float) -> None:
    parts = {"overall": np.full(len(OF_FIFTY), True)}
    found = [row[0].outcome for row in simulate(OF_FIFTY, noise, gap, parts, 200)]
    assert found.count(ClaimOutcome.AGREES) <= 200 * 0.05
    assert found.count(ClaimOutcome.INCONCLUSIVE) >= 200 * 0.95

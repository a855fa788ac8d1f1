"""The rule for claims, at its edges and on simulated repetitions, and the claims against themselves."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from eibench_ray.benchmarks.eibench.claims import (
    CONFIDENCE,
    CheckedClaim,
    Claim,
    ClaimStatus,
    check_claim,
    find_contradictions,
)
from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.scoring.cell_score import score_cell
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.scorer import Score


def claim(percent: str, emotion: str = "overall", samples: int = 100, **names: str) -> Claim:
    chosen = {"dataset": "d", "setting": "user_question", "model": "m", "judge": "j"} | names
    return Claim(**chosen, emotion=emotion, percent=Decimal(percent), samples=samples, label="M", source="a paper")


def measured(low: float | None, high: float | None, *, n: int = 100, num_scored: int | None = None) -> MetricSummary:
    mean = None if low is None or high is None else (low + high) / 2
    scored = n if num_scored is None else num_scored
    return MetricSummary(n, scored, scored, mean, low, high, bound_low=0.0, bound_high=1.0)


@pytest.mark.parametrize(
    ("percent", "share", "rounding"),
    [("32.09", 0.3209, 5e-5), ("32.1", 0.321, 5e-4), ("32.10", 0.321, 5e-5), ("5", 0.05, 5e-3)],
)
def test_a_claim_is_as_exact_as_its_digits(percent: str, share: float, rounding: float) -> None:
    assert claim(percent).share == share
    assert claim(percent).rounding == pytest.approx(rounding, rel=1e-12)


@pytest.mark.parametrize(
    ("percent", "low", "high", "status"),
    [
        ("50.00", 0.45, 0.55, "verified"),
        ("45.00", 0.45, 0.55, "verified"),  # on the edges
        ("55.00", 0.45, 0.55, "verified"),
        ("44.99", 0.45, 0.55, "not reproduced"),
        ("55.01", 0.45, 0.55, "not reproduced"),
        ("32.09", 0.32095, 0.4, "verified"),  # may have been 32.095 before it was rounded
        ("32.09", 0.320951, 0.4, "not reproduced"),
        ("32.09", 0.1, 0.32085, "verified"),
        ("32.09", 0.1, 0.320849, "not reproduced"),
        ("32.1", 0.3214, 0.4, "verified"),  # one digit: half a unit is 0.05
        ("32.10", 0.3214, 0.4, "not reproduced"),
        ("0.00", 0.0, 0.0, "verified"),  # verdicts that do not vary
        ("0.01", 0.0, 0.0, "not reproduced"),
        ("104.00", 1.0, 1.1, "verified"),  # official recall is not clamped
    ],
)
def test_a_claim_holds_within_the_interval_and_its_own_rounding(
    percent: str, low: float, high: float, status: str
) -> None:
    assert check_claim(claim(percent), measured(low, high)) == CheckedClaim(
        claim(percent), ClaimStatus(status), "", measured(low, high)
    )


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "the run's dataset has no sample of overall"),
        (measured(None, None, num_scored=0), "no verdict that counts"),
        (measured(0.4, 0.6, num_scored=94), "94 of 100 samples scored, 95% are needed"),
        (measured(0.4, 0.6, n=20), "20 of 100 samples scored, 95% are needed"),  # a run with dataset.limit
        (measured(0.4, 0.6, n=101), "the run's dataset has 101 samples, the published one 100"),
    ],
)
def test_what_cannot_be_compared_is_unverified_and_says_why(found: MetricSummary | None, reason: str) -> None:
    assert check_claim(claim("50.00"), found) == CheckedClaim(claim("50.00"), ClaimStatus.UNVERIFIED, reason, found)


@pytest.mark.parametrize(("n", "num_scored"), [(100, 95), (95, 95), (100, 100)])
def test_enough_samples_are_enough_whether_the_others_are_missing_or_unreadable(n: int, num_scored: int) -> None:
    assert check_claim(claim("50.00"), measured(0.4, 0.6, n=n, num_scored=num_scored)).status is ClaimStatus.VERIFIED


def repeat(difficulties: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Triggers that each sample's answer names, of five: noise of answer and judge included."""
    return rng.binomial(5, difficulties)


def check_repetition(published: np.ndarray, repeated: np.ndarray) -> ClaimStatus:
    """What the rule says about the mean of one set of verdicts, claimed, when another is the run."""
    triggers = tuple("abcde")
    rows = (
        (
            Sample(f"s{i}", {}, (Media("", f"picture {i}"),), triggers, {"emotion": "happy"}),
            [Score(f"s{i}", {"recall": int(correct) / 5})],
        )
        for i, correct in enumerate(repeated)
    )
    score = score_cell(rows, [RECALL], CONFIDENCE)
    percent = f"{100 * published.mean() / 5:.2f}"
    return check_claim(claim(percent, samples=len(published)), score.overall).status


@pytest.mark.parametrize(
    ("gap", "least", "most"),
    [
        (0.0, 0.95, 1.0),  # the same model asked again
        (0.1, 0.0, 0.05),  # another one, ten points better
    ],
)
def test_repetitions_are_verified_and_other_models_are_not(gap: float, least: float, most: float) -> None:
    rng = np.random.default_rng(7)
    num_trials, num_verified = 200, 0
    for _ in range(num_trials):
        difficulties = rng.beta(1.5, 1.5, size=600) * 0.9
        published, repeated = repeat(difficulties, rng), repeat(difficulties + gap, rng)
        num_verified += check_repetition(published, repeated) is ClaimStatus.VERIFIED
    assert least <= num_verified / num_trials <= most


def row(overall: str, happy: str, angry: str, **names: str) -> list[Claim]:
    """One model's figures: 25 samples are happy, 75 angry."""
    return [claim(happy, "happy", 25, **names), claim(angry, "angry", 75, **names), claim(overall, **names)]


@pytest.mark.parametrize(
    ("overall", "is_found"),
    [("25.00", False), ("25.06", False), ("24.94", False), ("25.07", True), ("24.93", True), ("50.00", True)],
)
def test_an_overall_claim_is_the_weighted_mean_of_its_emotions(overall: str, is_found: bool) -> None:
    found = find_contradictions(row(overall, happy="40.00", angry="20.00"))
    assert [(one.claim.percent, one.expected) for one in found] == (
        [(Decimal(overall), Decimal(25))] if is_found else []
    )


def test_rows_of_other_judges_and_settings_are_kept_apart() -> None:
    claims = row("25.00", "40.00", "20.00") + row("40.00", "40.00", "40.00", judge="k")
    claims += row("30.00", "40.00", "20.00", setting="cot")
    assert [one.claim.setting for one in find_contradictions(claims)] == ["cot"]


def test_rows_without_all_of_their_emotions_are_passed_over() -> None:
    assert find_contradictions([claim("50.00")]) == []
    assert find_contradictions([claim("40.00", "happy", 25), claim("50.00")]) == []
    assert find_contradictions([claim("40.00", "happy", 25)]) == []


def test_the_headline_is_all_samples_of_the_plain_question() -> None:
    assert claim("50.00").is_headline
    assert not claim("50.00", "happy").is_headline
    assert not claim("50.00", setting="user_question_cot").is_headline

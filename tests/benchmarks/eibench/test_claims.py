"""Claims: their digits, the words for what a run says about them, and the claims against themselves."""

from __future__ import annotations

from decimal import Decimal

import pytest

from eibench_ray.benchmarks.eibench.claims import CheckedClaim, Claim, ClaimOutcome, ClaimStatus, find_contradictions


def claim(percent: str, emotion: str = "overall", samples: int = 100, **names: str) -> Claim:
    chosen = {"dataset": "d", "setting": "user_question", "model": "m", "judge": "j"} | names
    return Claim(**chosen, emotion=emotion, percent=Decimal(percent), samples=samples, label="M", source="a paper")


@pytest.mark.parametrize(
    ("percent", "share", "rounding"),
    [("32.09", 0.3209, 5e-5), ("32.1", 0.321, 5e-4), ("32.10", 0.321, 5e-5), ("5", 0.05, 5e-3)],
)
def test_a_claim_is_as_exact_as_its_digits(percent: str, share: float, rounding: float) -> None:
    assert claim(percent).share == share
    assert claim(percent).rounding == pytest.approx(rounding, rel=1e-12)


@pytest.mark.parametrize(
    ("outcome", "is_within", "status"),
    [
        (None, False, ClaimStatus.UNVERIFIED),
        (ClaimOutcome.INCONCLUSIVE, False, ClaimStatus.UNVERIFIED),
        (ClaimOutcome.AGREES, True, ClaimStatus.VERIFIED),
        (ClaimOutcome.DIFFERS, False, ClaimStatus.NOT_REPRODUCED),
        (ClaimOutcome.DIFFERS, True, ClaimStatus.VERIFIED),  # by less than matters
    ],
)
def test_the_word_follows_from_what_was_shown(
    outcome: ClaimOutcome | None, is_within: bool, status: ClaimStatus
) -> None:
    assert CheckedClaim(claim("50.00"), outcome=outcome, is_within_margin=is_within).status is status


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

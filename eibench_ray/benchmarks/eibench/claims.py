"""Published figures against measured ones: the rule, and whether the claims agree with each other.

The rule asks whether the claim is among the means that the run's own pictures make plausible. A repetition asks the
same samples as the paper did, so the choice of pictures, which the interval is mostly about, hardly parts the two. What
parts them is the noise of answers and judges, and that counts twice, since the claim has its own. As long as a sample's
recall varies no more between repetitions than samples vary among each other, the interval is at least as wide as that:
it held 292 of 300 simulated repetitions of 600 samples; where the samples were all alike and only noise parted them,
it held 239. Nothing is known of the claim's own interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from eibench_ray.plan.graph import Source
from eibench_ray.scoring.cell_score import MIN_COVERAGE
from eibench_ray.scoring.metric_summary import MetricSummary

OVERALL = "overall"
HEADLINE_SETTING = "user_question"
CONFIDENCE = 0.95
# Percentage points. The published scripts count some samples twice by emotion and not at all overall, so figures
# differ by more than their rounding: all rows of the paper but one agree to 0.06, that one is 0.20 off.
MAX_GAP = Decimal("0.06")
RULE = (
    f"verified: at least {MIN_COVERAGE:.0%} of the published samples are scored, and the claim, give or take its "
    f"rounding, lies in the run's {CONFIDENCE:.0%} bootstrap interval, clustered by image; not reproduced: they are "
    f"scored, and it lies outside; unverified: the run has nothing to compare it with, for the reason that is given"
)
_SLACK = 1e-12  # of sums in binary: a claim on the very edge lies inside


class ClaimStatus(StrEnum):
    """Outcome of checking a claim against a run."""

    VERIFIED = "verified"
    NOT_REPRODUCED = "not reproduced"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Claim:
    """One figure that was published.

    Attributes:
        dataset, setting, model, judge: names of the options that ask for it.
    """

    dataset: str
    setting: str
    model: str
    judge: str
    emotion: str  # whose samples it is the mean of; `overall` for all
    percent: Decimal  # mean recall, with the digits that were published
    samples: int  # how many it is the mean of
    label: str  # the model's name in the source
    source: str

    @property
    def share(self) -> float:
        """The claim as a share, as recall is measured."""
        return float(self.percent.scaleb(-2))

    @property
    def rounding(self) -> float:
        """Half a unit of its last digit, as a share: what rounding may have added or taken away."""
        exponent = self.percent.as_tuple().exponent
        assert isinstance(exponent, int)
        return float(Decimal(5).scaleb(exponent - 3))

    @property
    def is_headline(self) -> bool:
        """Whether the paper's main comparison rests on it: all samples, the plain question."""
        return self.emotion == OVERALL and self.setting == HEADLINE_SETTING


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim and what a run says about it.

    Attributes:
        answer_source, judge_source: whose words the run's answers and verdicts are.
    """

    claim: Claim
    status: ClaimStatus
    reason: str = ""  # why it is unverified; empty otherwise
    measured: MetricSummary | None = None  # None where the run has no such cell, or no such sample
    answer_source: Source = "model"
    judge_source: Source = "model"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An overall claim that is not the mean of its emotions."""

    claim: Claim
    expected: Decimal  # percent; the emotions' mean, weighted by their samples


def check_claim(claim: Claim, measured: MetricSummary | None) -> CheckedClaim:
    """The claim by the rule.

    Args:
        claim: what was published.
        measured: the same mean in a run, with an interval of CONFIDENCE; None where the run has no such sample.
    """
    reason = _find_blocker(claim, measured)
    if reason or measured is None or measured.ci_low is None or measured.ci_high is None:
        return CheckedClaim(claim, ClaimStatus.UNVERIFIED, reason, measured)
    width = claim.rounding + _SLACK
    is_inside = measured.ci_low - width <= claim.share <= measured.ci_high + width
    return CheckedClaim(claim, ClaimStatus.VERIFIED if is_inside else ClaimStatus.NOT_REPRODUCED, "", measured)


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


def find_contradictions(claims: Iterable[Claim]) -> list[Contradiction]:
    """The overall claims further than MAX_GAP from the mean of their emotions, weighted by samples, in their order.

    Those whose emotions were not published for all samples are passed over.
    """
    rows: dict[tuple[str, str, str, str], dict[str, Claim]] = {}
    for claim in claims:
        rows.setdefault((claim.dataset, claim.setting, claim.model, claim.judge), {})[claim.emotion] = claim
    found = (_find_contradiction(figures) for figures in rows.values())
    return [contradiction for contradiction in found if contradiction]


def _find_contradiction(figures: Mapping[str, Claim]) -> Contradiction | None:
    overall = figures.get(OVERALL)
    parts = [claim for emotion, claim in figures.items() if emotion != OVERALL]
    if overall is None or sum(claim.samples for claim in parts) != overall.samples:
        return None
    expected = sum((claim.percent * claim.samples for claim in parts), Decimal()) / overall.samples
    return Contradiction(overall, expected) if abs(expected - overall.percent) > MAX_GAP else None

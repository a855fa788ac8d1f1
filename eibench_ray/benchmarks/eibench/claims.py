"""Claims: figures as they were published, what a run says about one, and whether they agree with each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from eibench_ray.plan.graph import Source
from eibench_ray.scoring.equivalence import RepeatedComparison
from eibench_ray.scoring.metric_summary import MetricSummary

OVERALL = "overall"
HEADLINE_SETTING = "user_question"
# Percentage points. The published scripts count some samples twice by emotion and not at all overall, so figures
# differ by more than their rounding: all rows of the paper but one agree to 0.06, that one is 0.20 off.
MAX_GAP = Decimal("0.06")


class ClaimStatus(StrEnum):
    """Word for a claim that was checked against a run."""

    VERIFIED = "verified"
    NOT_REPRODUCED = "not reproduced"
    UNVERIFIED = "unverified"


class ClaimOutcome(StrEnum):
    """Result of comparing a claim with a run's figure."""

    AGREES = "agrees"  # within the margin, and no difference was found
    DIFFERS = "differs"  # more than by chance
    INCONCLUSIVE = "inconclusive"  # neither could be shown


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
        p_holm: of a difference, adjusted over all claims that were compared with the run.
        is_within_margin: whether differences of the margin or more are rejected.
        answer_source, judge_source: whose words the run's answers and verdicts are.
    """

    claim: Claim
    reason: str = ""  # why nothing was compared; empty otherwise
    measured: MetricSummary | None = None  # None where the run has no such cell, or no such sample
    comparison: RepeatedComparison | None = None  # None where nothing was compared
    p_holm: float | None = None
    outcome: ClaimOutcome | None = None  # None where nothing was compared
    is_within_margin: bool = False
    answer_source: Source = "model"
    judge_source: Source = "model"

    @property
    def difference(self) -> float | None:
        """Measured minus claimed; None where nothing was compared."""
        if self.comparison is None or self.measured is None or self.measured.value is None:
            return None
        return self.measured.value - self.claim.share

    @property
    def status(self) -> ClaimStatus:
        """The word for it: a difference that is surely less than the margin does not stand against a claim."""
        if self.outcome in (None, ClaimOutcome.INCONCLUSIVE):
            return ClaimStatus.UNVERIFIED
        return ClaimStatus.VERIFIED if self.is_within_margin else ClaimStatus.NOT_REPRODUCED


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An overall claim that is not the mean of its emotions."""

    claim: Claim
    expected: Decimal  # percent; the emotions' mean, weighted by their samples


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

"""A run's verification against published figures, as one value, as JSON values and as a data frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eibench_ray.benchmarks.eibench.claim_rule import explain_rule
from eibench_ray.benchmarks.eibench.claims import CheckedClaim, Claim, ClaimOutcome, ClaimStatus, Contradiction
from eibench_ray.scoring.equivalence import LEVEL

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Verification:
    """Claims and what a run says about them."""

    checked: tuple[CheckedClaim, ...]  # in the order of the claims' file
    contradictions: tuple[Contradiction, ...]  # claims that disagree with each other, whatever the run says
    remarks: tuple[str, ...]  # what a reader must know about the cells that were compared
    margin: float  # percentage points; differences of less do not matter

    @property
    def num_compared(self) -> int:
        """Claims that were compared with a figure of the run."""
        return sum(checked.comparison is not None for checked in self.checked)

    @property
    def headline(self) -> list[CheckedClaim]:
        """The claims of the paper's main comparison."""
        return [checked for checked in self.checked if checked.claim.is_headline]

    @property
    def num_headline_rows(self) -> int:
        """Models x datasets of the main comparison; each row has a figure per judge."""
        return len({(checked.claim.dataset, checked.claim.model) for checked in self.headline})


def count_statuses(checked: Iterable[CheckedClaim]) -> dict[str, int]:
    """Number of claims per status; every status has an entry."""
    counts = Counter(one.status for one in checked)
    return {status.value: counts[status] for status in ClaimStatus}


def count_outcomes(checked: Iterable[CheckedClaim]) -> dict[str, int]:
    """Number of claims per outcome, and of those that were not compared; each has an entry."""
    counts = Counter(one.outcome for one in checked)
    return {outcome.value: counts[outcome] for outcome in ClaimOutcome} | {"not compared": counts[None]}


def name_claim(claim: Claim) -> dict[str, str]:
    """A claim in one line, in the words of its file."""
    return {
        "dataset": claim.dataset,
        "setting": claim.setting,
        "model": claim.model,
        "judge": claim.judge,
        "emotion": claim.emotion,
    }


def to_json(verification: Verification) -> dict[str, Any]:
    """The claims as plain JSON values; figures, intervals and the margin are shares, null where there is none."""
    headline = verification.headline
    return {
        "rule": explain_rule(verification.margin),
        "margin": verification.margin / 100,
        "counts": count_statuses(verification.checked),
        "outcomes": count_outcomes(verification.checked),
        "expected_false_alarms": LEVEL if verification.num_compared else 0.0,
        "headline": {"rows": verification.num_headline_rows, "counts": count_statuses(headline)},
        "claims": [_to_json_claim(checked) for checked in verification.checked],
        "contradictions": [
            {**name_claim(one.claim), "claimed": one.claim.share, "expected": float(one.expected.scaleb(-2))}
            for one in verification.contradictions
        ],
        "remarks": list(verification.remarks),
    }


def to_frame(verification: Verification) -> pl.DataFrame:
    """The claims as a data frame in the order of their file, shares in [0, 1]."""
    import polars as pl

    schema: dict[str, type[pl.DataType]] = dict.fromkeys(("dataset", "setting", "model", "judge", "emotion"), pl.String)
    schema |= {"headline": pl.Boolean}
    schema |= dict.fromkeys(("claimed", "measured", "ci_low", "ci_high", "difference"), pl.Float64)
    schema |= dict.fromkeys(("difference_low", "difference_high", "p_value", "p_holm"), pl.Float64)
    schema |= dict.fromkeys(("n", "scored", "clusters", "claimed_n"), pl.Int64)
    schema |= dict.fromkeys(("status", "outcome"), pl.String) | {"within_margin": pl.Boolean}
    schema |= dict.fromkeys(("reason", "answer_source", "judge_source", "label", "source"), pl.String)
    rows = []
    for checked in verification.checked:
        row = _to_json_claim(checked)
        for name, low, high in (
            ("interval", "ci_low", "ci_high"),
            ("difference_interval", "difference_low", "difference_high"),
        ):
            row[low], row[high] = row.pop(name) or (None, None)
        rows.append(row)
    return pl.DataFrame(rows, schema=schema)


def _to_json_claim(checked: CheckedClaim) -> dict[str, Any]:
    claim, measured, found = checked.claim, checked.measured, checked.comparison
    return {
        **name_claim(claim),
        "headline": claim.is_headline,
        "claimed": claim.share,
        "measured": measured.value if measured else None,
        "interval": _interval(measured.ci_low, measured.ci_high) if measured else None,
        "difference": checked.difference,
        "difference_interval": _interval(found.low, found.high) if found else None,
        "p_value": found.p_value if found else None,
        "p_holm": checked.p_holm,
        "n": measured.n if measured else None,
        "scored": measured.num_scored if measured else None,
        "clusters": measured.num_clusters if measured else None,
        "claimed_n": claim.samples,
        "status": checked.status.value,
        "outcome": checked.outcome.value if checked.outcome else None,
        "within_margin": checked.is_within_margin if found else None,
        "reason": checked.reason,
        "answer_source": checked.answer_source,
        "judge_source": checked.judge_source,
        "label": claim.label,
        "source": claim.source,
    }


def _interval(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]

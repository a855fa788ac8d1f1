"""A judge's verdict on one answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VerdictStatus(StrEnum):
    """Outcome of a judge's reply. Only `ok` verdicts enter the headline; the others lower its coverage."""

    OK = "ok"
    UNPARSED = "unparsed"  # no verdict could be read from the reply
    OUT_OF_RANGE = "out_of_range"  # correct < 0 or correct > total
    WRONG_TOTAL = "wrong_total"  # total is not the number of reference triggers
    NO_ANSWER = "no_answer"  # the subject gave no answer to judge
    JUDGE_ERROR = "judge_error"  # the judge gave no reply
    NO_REFERENCE = "no_reference"  # the sample has no triggers to compare with: the judge was not asked


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's parsed reply for one sample.

    Attributes:
        correct: triggers that the answer names; None where no verdict could be read.
        total: triggers that the verdict counts.
        hits: per reference trigger, whether the answer names it; None where the judge did not say which.
    """

    sample_id: str
    correct: int | None
    total: int | None
    explanation: str | None
    status: VerdictStatus
    hits: tuple[bool, ...] | None = None

    @property
    def recall(self) -> float | None:
        """Share of the reference triggers that the answer names; None unless the status is ok.

        In [0, 1] for strict verdicts; official ones are not clamped.
        """
        if self.status is not VerdictStatus.OK or self.correct is None or not self.total:
            return None
        return self.correct / self.total

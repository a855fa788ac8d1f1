"""Counts of named triggers, as a judge's reply has them, and as a score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from eibench_ray.scoring.scorer import TARGETS_HIT, Metric, Score

# Share of the reference triggers that an answer names.
RECALL = Metric("recall")
# What a reply that came, but counts what cannot be, did.
STATUSES: Mapping[str, str] = {
    "wrong_total": "count another number of triggers than the sample has",
    "out_of_range": "count more triggers than there are, or fewer than none",
}
# Verdicts are stored as integers of a fixed width. A count beyond 32 bits is a judge gone astray, not a count.
MAX_COUNT = 2**31 - 1


class CountStatus(StrEnum):
    """Whether the counts of a reply may be scored."""

    OK = "ok"
    UNPARSED = "unparsed"  # no counts could be read from the reply
    OUT_OF_RANGE = "out_of_range"  # correct < 0 or correct > total
    WRONG_TOTAL = "wrong_total"  # total is not the number of reference triggers


@dataclass(frozen=True, slots=True)
class ParsedVerdict:
    """The counts that a reply names, and whether they may be scored.

    Attributes:
        correct, total: both set or both None; None where the reply names no counts that can be stored.
        hits: per trigger, whether the reply says that it is named; None where it does not say which.
    """

    correct: int | None
    total: int | None
    explanation: str | None  # the judge's own words; always valid UTF-8
    status: CountStatus
    hits: tuple[bool, ...] | None = None

    def to_score(self, sample_id: str) -> Score:
        """The score: the recall where the counts may be scored, and the counts themselves; recall is not clamped."""
        details: dict[str, Any] = {} if self.correct is None else {"correct": self.correct, "total": self.total}
        if self.hits is not None:
            details[TARGETS_HIT] = list(self.hits)
        is_scored = self.status is CountStatus.OK and self.correct is not None and self.total
        values = {RECALL.name: (self.correct or 0) / (self.total or 1)} if is_scored else {}
        return Score(sample_id, values, str(self.status), details, self.explanation)


UNPARSED = ParsedVerdict(correct=None, total=None, explanation=None, status=CountStatus.UNPARSED)

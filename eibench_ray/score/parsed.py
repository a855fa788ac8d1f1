"""What a parser reads from one judge's reply, before it is tied to a sample."""

from __future__ import annotations

from dataclasses import dataclass

from eibench_ray.records import VerdictStatus

# Verdicts are stored as integers of a fixed width. A count beyond 32 bits is a judge gone astray, not a count.
MAX_COUNT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ParsedVerdict:
    """The counts that a reply names, and whether they may be scored.

    Attributes:
        correct, total: both set or both None; None where the reply names no counts that can be stored.
        explanation: the judge's own words; always valid UTF-8.
        hits: per trigger, whether the reply says that it is named; None where it does not say which.
    """

    correct: int | None
    total: int | None
    explanation: str | None
    status: VerdictStatus
    hits: tuple[bool, ...] | None = None


UNPARSED = ParsedVerdict(correct=None, total=None, explanation=None, status=VerdictStatus.UNPARSED)

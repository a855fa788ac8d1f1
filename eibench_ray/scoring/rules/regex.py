"""Regular expressions: what a pattern takes from the answer is a target, or the target is the pattern itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import ACCURACY, filled_targets, grade, nothing_to_read
from eibench_ray.scoring.rules.answer_pattern import compile_pattern, find_taken
from eibench_ray.scoring.scorer import Score, Scorer


@dataclass(frozen=True, slots=True)
class RegexScorer(Scorer):
    """Compares what a pattern takes from the answer with the targets.

    Attributes:
        pattern: its first group, or all that it matches, is compared, but for white space around it; None: each target
            is a pattern, and an answer is right in which one of them is found.
    """

    pattern: str | None = None
    take: Literal["last", "first"] = "last"  # of several places that match, the `last` or the `first`
    ignore_case: bool = True  # in the pattern and in the comparison
    metrics = (ACCURACY,)

    def __post_init__(self) -> None:
        if self.pattern is not None:
            compile_pattern(self.pattern, ignore_case=self.ignore_case)

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether there is a target."""
        return bool(filled_targets(sample))

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - nobody is asked
        """1 where what the pattern takes is a target."""
        targets = filled_targets(sample)
        if self.pattern is None:
            if not answer.strip():
                return nothing_to_read(sample, "word")
            found = [target for target in targets if find_taken(target, answer, ignore_case=self.ignore_case)]
            return grade(sample, is_right=bool(found), found=found)
        taken = find_taken(self.pattern, answer, ignore_case=self.ignore_case)
        if not taken:
            return nothing_to_read(sample, "place that the pattern matches")
        said = taken[-1 if self.take == "last" else 0]
        same = self._normal(said)
        is_right = any(self._normal(target) == same for target in targets)
        return grade(sample, is_right=is_right, extracted=same, taken=said)

    def _normal(self, text: str) -> str:
        return text.strip().lower() if self.ignore_case else text.strip()

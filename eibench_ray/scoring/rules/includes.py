"""Includes: a target stands somewhere in the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from unicodedata import normalize

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import ACCURACY, filled_targets, grade, nothing_to_read
from eibench_ray.scoring.scorer import Score, Scorer


@dataclass(frozen=True, slots=True)
class IncludesScorer(Scorer):
    """Looks for any of the targets, wherever it stands."""

    ignore_case: bool = True  # "PARIS" includes Paris
    whole_words: bool = False  # "cat" does not stand in "concatenate"
    metrics = (ACCURACY,)

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether there is a target."""
        return bool(filled_targets(sample))

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - nobody is asked
        """1 where one of the targets stands in the answer."""
        if not answer.strip():
            return nothing_to_read(sample, "word")
        said = self._normal(answer)
        found = [target for target in filled_targets(sample) if self._stands_in(self._normal(target), said)]
        return grade(sample, is_right=bool(found), found=found)

    def _normal(self, text: str) -> str:
        text = normalize("NFC", text.strip())
        return text.lower() if self.ignore_case else text

    def _stands_in(self, target: str, text: str) -> bool:
        if not self.whole_words:
            return target in text
        return re.search(rf"(?<!\w){re.escape(target)}(?!\w)", text) is not None

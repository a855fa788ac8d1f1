"""Exact match: the answer is a target, and nothing else; of several targets, as in SQuAD's script, any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import ACCURACY, filled_targets, grade, nothing_to_read
from eibench_ray.scoring.rules.normal_text import normal_text
from eibench_ray.scoring.scorer import Score, Scorer


@dataclass(frozen=True, slots=True)
class ExactMatchScorer(Scorer):
    """Compares whole texts; the defaults are SQuAD's.

    Attributes:
        ignore_punctuation: `ascii`: "Paris." is Paris; `all`: marks of other scripts, too; `none`.
    """

    ignore_case: bool = True  # "paris" is Paris
    ignore_articles: bool = True  # "the Louvre" is Louvre: English a, an and the
    ignore_punctuation: Literal["none", "ascii", "all"] = "ascii"
    metrics = (ACCURACY,)

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether there is a target."""
        return bool(filled_targets(sample))

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - nobody is asked
        """1 where the answer equals a target."""
        if not answer.strip():
            return nothing_to_read(sample, "word")
        said = self._normal(answer)
        is_right = any(self._normal(target) == said for target in filled_targets(sample))
        return grade(sample, is_right=is_right, extracted=said)

    def _normal(self, text: str) -> str:
        return normal_text(
            text,
            ignore_case=self.ignore_case,
            ignore_articles=self.ignore_articles,
            ignore_punctuation=self.ignore_punctuation,
        )

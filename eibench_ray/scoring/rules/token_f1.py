"""Token F1: how many words an answer shares with a target, as in SQuAD's script."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import filled_targets, nothing_to_read
from eibench_ray.scoring.rules.normal_text import normal_text
from eibench_ray.scoring.scorer import Metric, Score, Scorer


@dataclass(frozen=True, slots=True)
class TokenF1Scorer(Scorer):
    """The harmonic mean of precision and recall of words, which white space separates; the best of several targets.

    Attributes:
        ignore_case, ignore_articles, ignore_punctuation: as `exact_match` has them.
    """

    ignore_case: bool = True
    ignore_articles: bool = True
    ignore_punctuation: Literal["none", "ascii", "all"] = "ascii"
    metrics = (Metric("f1"),)

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether there is a target."""
        return bool(filled_targets(sample))

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - nobody is asked
        """The F1 of the target that the answer is closest to."""
        if not answer.strip():
            return nothing_to_read(sample, "word")
        said = self._words(answer)
        best = max(token_f1(said, self._words(target)) for target in filled_targets(sample))
        return Score(sample.sample_id, {"f1": best})

    def _words(self, text: str) -> Counter[str]:
        normal = normal_text(
            text,
            ignore_case=self.ignore_case,
            ignore_articles=self.ignore_articles,
            ignore_punctuation=self.ignore_punctuation,
        )
        return Counter(normal.split())


def token_f1(said: Counter[str], target: Counter[str]) -> float:
    """F1 of two bags of words, in [0, 1].

    >>> token_f1(Counter(["cat", "sat"]), Counter(["cat"]))
    0.6666666666666666
    """
    shared = (said & target).total()
    return 2 * shared / (said.total() + target.total()) if shared else 0.0

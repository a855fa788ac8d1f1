"""Extracted match: what a pattern takes from the answer equals a target, both without what is to be left out."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Literal

from eibench_ray.errors import ScoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import ACCURACY, filled_targets, grade, nothing_to_read
from eibench_ray.scoring.rules.answer_pattern import LIMIT_S, compile_pattern, find_taken
from eibench_ray.scoring.scorer import Score, Scorer

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class ExtractedMatchScorer(Scorer):
    """Compares texts as lm-evaluation-harness's `exact_match` does after its filter `regex`.

    Attributes:
        pattern: its first group, or all that it matches, is compared; None: the whole answer.
        remove: regular expressions whose matches are taken out of both texts, before case and punctuation.
    """

    pattern: str | None = None
    take: Literal["first", "last"] = "first"  # of several places that match
    remove: tuple[str, ...] = ()
    ignore_case: bool = False
    ignore_punctuation: bool = False  # that of ASCII
    metrics = (ACCURACY,)

    def __post_init__(self) -> None:
        for pattern in (*([self.pattern] if self.pattern is not None else []), *self.remove):
            compile_pattern(pattern)

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether there is a target."""
        return bool(filled_targets(sample))

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - nobody is asked
        """1 where what is taken from the answer is a target."""
        said = answer
        if self.pattern is not None:
            taken = find_taken(self.pattern, answer)
            if not taken:
                return nothing_to_read(sample, "place that the pattern matches")
            said = taken[0 if self.take == "first" else -1]
        clean = self._clean(said)
        is_right = any(self._clean(target) == clean for target in filled_targets(sample))
        return grade(sample, is_right=is_right, extracted=clean)

    def _clean(self, text: str) -> str:
        for pattern in self.remove:
            try:
                text = compile_pattern(pattern).sub("", text, timeout=LIMIT_S)
            except TimeoutError:
                raise ScoreError(
                    f"the pattern {pattern!r} takes more than {LIMIT_S:g} s on a text of {len(text)} characters: write "
                    f"it without nested repeats"
                ) from None
        text = text.lower() if self.ignore_case else text
        return (text.translate(_NO_PUNCTUATION) if self.ignore_punctuation else text).strip()

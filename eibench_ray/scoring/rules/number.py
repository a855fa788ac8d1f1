"""Numbers: the answer's number is the target's. "65,960" is 65960, "$1,000.50" is 1000.5, "1/2" is 0.5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import ACCURACY, grade, nothing_to_read
from eibench_ray.scoring.rules.answer_pattern import compile_pattern, find_taken
from eibench_ray.scoring.rules.numerals import Numeral, find_numerals
from eibench_ray.scoring.scorer import Score, Scorer


@dataclass(frozen=True, slots=True)
class NumberScorer(Scorer):
    r"""Compares a number of the answer with the last number of a target, such as 18 in "9 * 2 = 18\n#### 18".

    Attributes:
        take: which number of the answer: the `last` one, as GSM8K's flexible match has it, or the `first`.
        pattern: a regular expression; its first group, or all that it matches, is where the number is looked for, e.g.
            `#### (.*)`; of several places the one that `take` says. None: the whole answer.
        tolerance: largest difference that counts as equal, as a share of the target; 0.05: ChartQA's relaxed accuracy.
    """

    take: Literal["last", "first"] = "last"
    pattern: str | None = None
    tolerance: float = 0.0
    decimal_comma: bool = False  # "1.000,5" is a thousand and a half
    metrics = (ACCURACY,)

    def __post_init__(self) -> None:
        if self.pattern is not None:
            compile_pattern(self.pattern)
        if not 0 <= self.tolerance < 1:
            raise ValueError("tolerance is a share of the target, 0 or more and below 1")

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether a target has a number."""
        return bool(self._targets(sample))

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - nobody is asked
        """1 where the number is that of a target."""
        places = [answer] if self.pattern is None else find_taken(self.pattern, answer)
        numerals = [numeral for place in places for numeral in self._find(place)]
        if not numerals:
            return nothing_to_read(sample, "number" if self.pattern is None else "number where the pattern looks")
        said = numerals[-1 if self.take == "last" else 0]
        is_right = any(said.is_close(target, self.tolerance) for target in self._targets(sample))
        same = f"{said.value.normalize()}{'%' * said.is_percent}"
        return grade(sample, is_right=is_right, extracted=same, number=said.text)

    def _targets(self, sample: Sample) -> list[Numeral]:
        return [numerals[-1] for target in sample.targets if (numerals := self._find(target))]

    def _find(self, text: str) -> list[Numeral]:
        return find_numerals(text, decimal_comma=self.decimal_comma)

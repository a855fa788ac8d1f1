"""Multiple choice: the answer names the target's letter, as in "The answer is (B)", "**B**", "B. Paris", "Paris"."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from eibench_ray.rows.choices import read_choices
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import ACCURACY, grade, nothing_to_read
from eibench_ray.scoring.rules.answer_pattern import compile_pattern, find_taken
from eibench_ray.scoring.rules.choice_letter import find_letter
from eibench_ray.scoring.rules.normal_text import normal_text
from eibench_ray.scoring.scorer import Score, Scorer


@dataclass(frozen=True, slots=True)
class ChoiceScorer(Scorer):
    """Compares letters. A target is a letter, the text of an option, or the number of an option.

    Attributes:
        options: the input or column that lists the options' texts, in the order of their letters; where a sample has
            none, letters are all that is known.
        first_index: number of the first option, where targets are numbers. None: whole numbers count from 0, as in
            most tables, and digits that are a text are no target, since in some they count from 1.
        take: of several statements ("the answer is A. No: the answer is B") the `last`, or the `first`.
        pattern: a regular expression whose first group, or all that it matches, is read instead of the whole answer.
    """

    options: str = "choices"
    first_index: int | None = None
    take: Literal["last", "first"] = "last"
    pattern: str | None = None
    metrics = (ACCURACY,)

    def __post_init__(self) -> None:
        if self.pattern is not None:
            compile_pattern(self.pattern)

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether a target is one of the options, as far as they are known."""
        return bool(self._targets(sample))

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - nobody is asked
        """1 where the answer names the letter of a target."""
        place = answer
        if self.pattern is not None:
            taken = find_taken(self.pattern, answer)
            place = taken[-1 if self.take == "last" else 0] if taken else ""
        letter = find_letter(place, self._options(sample), first=self.take == "first")
        if letter is None:
            return nothing_to_read(sample, "letter or option that stands out")
        return grade(sample, is_right=letter in self._targets(sample), extracted=letter, choice=letter)

    def _options(self, sample: Sample) -> tuple[str, ...]:
        return read_choices(sample, self.options)[: len(ascii_uppercase)]

    def _targets(self, sample: Sample) -> set[str]:
        return find_targets(sample, self._options(sample), self.first_index)


def find_targets(sample: Sample, options: tuple[str, ...], first_index: int | None) -> set[str]:
    """The letters that a sample's targets mean; none where they mean no option.

    Args:
        sample: with its target, or several.
        options: the texts, in the order of their letters; empty: not known.
        first_index: number of the first option, as in `ChoiceScorer`.
    """
    values = sample.target if isinstance(sample.target, tuple) else (sample.target,)
    found = {_letter(value, options, first_index) for value in values}
    return {letter for letter in found if letter is not None}


def _letter(target: str | int | float | None, options: tuple[str, ...], first_index: int | None) -> str | None:
    letters = ascii_uppercase[: len(options)] or ascii_uppercase
    if isinstance(target, str):
        text = target.strip().strip("().").upper()
        if text in letters and len(text) == 1:
            return text
        same = [number for number, option in enumerate(options) if normal_text(option) == normal_text(target)]
        if len(same) == 1:
            return letters[same[0]]
        if first_index is None or not text.isdecimal():
            return None
        target = int(text) if len(text) < 4 else -1
    if target is None or not float(target).is_integer():
        return None
    index = int(target) - (first_index or 0)
    return letters[index] if 0 <= index < len(letters) else None

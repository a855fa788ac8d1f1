"""Repeats: how far the scores of a judge differ that is asked again, or those of a model that answers again.

The noise of one sample is independent of another's, those of one picture included: what is asked stays the same, and
each question has a seed of its own. So samples count here, not clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from eibench_ray.scoring.answer_repeats import by_answer, join_repeats
from eibench_ray.scoring.scorer import Score


@dataclass(frozen=True, slots=True)
class RepeatNoise:
    """Spread of the scores of the same answers, or of repeated answers to the same samples: the items.

    Only items count of which every repeat has a score.

    Attributes:
        sd: standard deviation of the cell's mean between single repeats on these very items: sqrt(MSW / n), MSW being
            the mean square within items. The printed mean is one over all repeats, of which the noise has the standard
            deviation `sd_of_mean`.
        variance_share: share of the variance of single values that lies within items, in [0, 1]: 1 - ICC(1); None
            below two items, or where all values are the same.

    `sd` and `differ` are None where n is 0.
    """

    repeats: int  # scores per item
    n: int  # items
    sd: float | None
    differ: float | None  # share of the items whose scores are not all the same, in value and in details
    variance_share: float | None

    @property
    def sd_of_mean(self) -> float | None:
        """Standard deviation of the mean over all repeats, as far as this noise goes."""
        return None if self.sd is None else self.sd / sqrt(self.repeats)


class NoiseMeter:
    """Measures the noise of repeats in one pass, in the memory of one item.

    Args:
        metric: by whose values.
    """

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._repeats = 0
        self._n = 0
        self._num_different = 0
        self._within = 0.0  # sum of squares around the means of samples
        self._mean = 0.0
        self._between = 0.0  # sum of squares of those means around theirs

    def add(self, scores: Sequence[Score | None]) -> None:
        """Takes the scores of one item, one per repeat."""
        self._repeats = len(scores)
        if self._repeats < 2:
            return
        counted = [score for score in scores if score is not None and self._metric in score.values]
        if len(counted) < len(scores):
            return
        values = [score.values[self._metric] for score in counted]
        mean = sum(values) / len(values)
        self._n += 1
        first = counted[0]
        self._num_different += any(
            (score.values, score.details) != (first.values, first.details) for score in counted[1:]
        )
        if len(set(values)) > 1:
            self._within += sum((value - mean) ** 2 for value in values)
        step = mean - self._mean
        self._mean += step / self._n
        self._between += step * (mean - self._mean)

    def read(self) -> RepeatNoise | None:
        """The noise of what was taken; None where nothing was asked again."""
        repeats, n = self._repeats, self._n
        if repeats < 2:
            return None
        if not n:
            return RepeatNoise(repeats, 0, None, None, None)
        within = self._within / (n * (repeats - 1))
        return RepeatNoise(repeats, n, sqrt(within / n), self._num_different / n, self._variance_share(within))

    def _variance_share(self, within: float) -> float | None:
        """1 - ICC(1), from the mean squares of a one-way analysis of variance, of which `within` is one.

        Source: Shrout and Fleiss, Intraclass Correlations: Uses in Assessing Rater Reliability (1979), case 1.
        """
        if self._n < 2:
            return None
        between = max(0.0, self._between / (self._n - 1) - within / self._repeats)
        return within / (within + between) if within + between else None


def add_noise(scores: Sequence[Score | None], num_answers: int, *, judge: NoiseMeter, model: NoiseMeter) -> None:
    """Shows both meters the scores of one sample, answer by answer: of one answer the judge's, of all the model's.

    The judge's own noise is in that of the model, too, as far as its repeats do not cancel it.
    """
    answers = by_answer(scores, num_answers)
    for of_answer in answers:
        judge.add(of_answer)
    model.add([join_repeats(of_answer) for of_answer in answers])

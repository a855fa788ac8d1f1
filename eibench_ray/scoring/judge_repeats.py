"""A judge that is asked again about the very same answers: how far its verdicts differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from eibench_ray.scoring.verdict import Verdict


@dataclass(frozen=True, slots=True)
class RepeatNoise:
    """Spread of verdicts on the same answers, over the samples of which every repeat's verdict counts.

    Attributes:
        repeats: verdicts per answer.
        n: those samples.
        sd: standard deviation (over repeats - 1) of the mean recalls of the repeats.
        differ: share of the samples whose verdicts are not all the same; trigger by trigger, where they name them.
        variance_share: share of the variance of single recalls that lies within samples, in [0, 1]: 1 - ICC(1);
            None below two samples, or where all recalls are the same.

    `sd` and `differ` are None where n is 0.
    """

    repeats: int
    n: int
    sd: float | None
    differ: float | None
    variance_share: float | None


class NoiseMeter:
    """Measures a judge's noise in one pass, in the memory of one sample."""

    def __init__(self) -> None:
        self._sums: list[float] = []
        self._n = 0
        self._num_different = 0
        self._within = 0.0  # sum of squares around the means of samples
        self._mean = 0.0
        self._between = 0.0  # sum of squares of those means around theirs

    def add(self, verdicts: Sequence[Verdict | None]) -> None:
        """Takes the verdicts on one answer, one per repeat."""
        self._sums = self._sums or [0.0] * len(verdicts)
        counted = [verdict for verdict in verdicts if verdict is not None and verdict.recall is not None]
        if len(counted) < len(verdicts):
            return
        recalls = [verdict.recall or 0.0 for verdict in counted]
        mean = sum(recalls) / len(recalls)
        self._sums = [total + recall for total, recall in zip(self._sums, recalls, strict=True)]
        self._n += 1
        self._num_different += len({verdict.hits or (verdict.correct, verdict.total) for verdict in counted}) > 1
        if len(set(recalls)) > 1:
            self._within += sum((recall - mean) ** 2 for recall in recalls)
        step = mean - self._mean
        self._mean += step / self._n
        self._between += step * (mean - self._mean)

    def read(self) -> RepeatNoise | None:
        """The noise of what was taken; None where the judge was asked once."""
        repeats, n = len(self._sums), self._n
        if repeats < 2:
            return None
        if not n:
            return RepeatNoise(repeats, 0, None, None, None)
        means = [total / n for total in self._sums]
        centre = sum(means) / repeats
        sd = sqrt(sum((mean - centre) ** 2 for mean in means) / (repeats - 1)) if len(set(means)) > 1 else 0.0
        return RepeatNoise(repeats, n, sd, self._num_different / n, self._variance_share(repeats))

    def _variance_share(self, repeats: int) -> float | None:
        """1 - ICC(1), from the mean squares of a one-way analysis of variance.

        Source: Shrout and Fleiss, Intraclass Correlations: Uses in Assessing Rater Reliability (1979), case 1.
        """
        if self._n < 2:
            return None
        within = self._within / (self._n * (repeats - 1))
        between = max(0.0, self._between / (self._n - 1) - within / repeats)
        return within / (within + between) if within + between else None

"""Columns of a cell's scores, a value per sample: all that its figures and comparisons are made of.

>>> meter = CellMeter([Metric("accuracy")])
>>> meter.add([Score("a", {"accuracy": 1.0})])
>>> meter.add([None])
>>> columns = meter.read()
>>> columns.headline.values, columns.statuses
(array([ 1., nan]), {'ok': 1, 'missing': 1})
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from eibench_ray.scoring.answer_repeats import by_answer, join_repeats, repeat_figures
from eibench_ray.scoring.repeat_noise import NoiseMeter, RepeatNoise, add_noise
from eibench_ray.scoring.score_column import ScoreColumn
from eibench_ray.scoring.scorer import Metric, Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_COVERAGE = 0.95  # of the samples: a figure that rests on fewer is no match for others
MISSING = "missing"  # the status of a sample that no score was handed in for


@dataclass(frozen=True, slots=True)
class FigureColumn:
    """One figure of each sample.

    Attributes:
        values: (samples,) NaN where a sample has none.
        missing: (samples,) number of its repeats that have none.
        repeats: values of which each is the mean.
    """

    metric: Metric
    values: NDArray[np.float64]
    missing: NDArray[np.uint16]
    repeats: int


@dataclass(frozen=True, slots=True)
class CellColumns:
    """The scores of one cell, in the dataset's order.

    Attributes:
        figures: the headline first; those of repeated answers (pass@k, majority@k) last.
        statuses: scores per status, only those that occur.
        num_gaps: samples of which a score is missing: they were not asked, or not to the end.
    """

    figures: tuple[FigureColumn, ...]
    statuses: Mapping[str, int]
    num_gaps: int
    noise: RepeatNoise | None  # of the judge's repeats, by the headline; None where it was asked once
    model_noise: RepeatNoise | None  # of the model's repeats, likewise

    @property
    def headline(self) -> FigureColumn:
        """The first figure."""
        return self.figures[0]

    @property
    def is_partial(self) -> bool:
        """Whether a sample was not asked, or too few have a score."""
        values = self.headline.values
        num_scored = int((values == values).sum())
        return bool(self.num_gaps) or 0 < num_scored < MIN_COVERAGE * len(values)


def mean_value(scores: Sequence[Score | None], metric: str) -> float | None:
    """The value of one sample: the mean over its scores that have one; None where none does."""
    values = [score.values[metric] for score in scores if score is not None and metric in score.values]
    return sum(values) / len(values) if values else None


class _Column:
    """A figure while its samples come."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.name = metric.name
        self.values = array("d")
        self.missing = array("H")
        self.repeats = 1

    def add(self, value: float | None, missing: int) -> None:
        self.values.append(nan if value is None else value)
        self.missing.append(missing)

    def extend(self, values: NDArray[np.float64]) -> None:
        self.values.frombytes(values.tobytes())
        self.missing.frombytes((values != values).astype("uint16").tobytes())

    def read(self) -> FigureColumn:
        import numpy as np

        values, missing = np.frombuffer(self.values, np.float64), np.frombuffer(self.missing, np.uint16)
        return FigureColumn(self.metric, values, missing, self.repeats)


class CellMeter:
    """Makes columns of scores in one pass; a sample leaves 10 bytes for each figure.

    Args:
        metrics: the scorer's, the headline first.
        num_answers: answers to each sample.
    """

    def __init__(self, metrics: Sequence[Metric], num_answers: int = 1) -> None:
        self._num_answers = num_answers
        self._of_score = [_Column(metric) for metric in metrics]
        self._of_repeats = [(_Column(it.metric), it) for it in repeat_figures(metrics[0], num_answers)]
        self._statuses: Counter[str] = Counter()
        self._num_gaps = 0
        self._noise, self._model_noise = NoiseMeter(metrics[0].name), NoiseMeter(metrics[0].name)

    def add_columns(self, columns: Sequence[ScoreColumn]) -> None:
        """Takes the scores of the next samples, answer by answer a column per repeat of the judge."""
        if len(columns) == 1:  # as in most cells: nothing is to be averaged, and nothing repeats
            self._add_column(columns[0])
            return
        for scores in zip(*(column.scores for column in columns), strict=True):
            self.add(scores)

    def _add_column(self, column: ScoreColumn) -> None:
        import numpy as np

        counts = np.bincount(column.codes, minlength=len(column.known)).tolist()
        for score, number in zip(column.known, counts, strict=True):
            self._statuses[MISSING if score is None else score.status] += number
            self._num_gaps += number if score is None else 0
        for figure in self._of_score:
            figure.extend(column.values(figure.name))

    def add(self, scores: Sequence[Score | None]) -> None:
        """Takes the scores of the next sample, answer by answer one per repeat of the judge; None for none."""
        for score in scores:
            self._statuses[MISSING if score is None else score.status] += 1
        self._num_gaps += None in scores
        for column in self._of_score:
            column.repeats = len(scores)
            missing = sum(score is None or column.name not in score.values for score in scores)
            column.add(mean_value(scores, column.name), missing)
        add_noise(scores, self._num_answers, judge=self._noise, model=self._model_noise)
        if self._of_repeats:
            answers = [join_repeats(each) for each in by_answer(scores, self._num_answers)]
            for column, figure in self._of_repeats:
                column.add(value := figure.read(answers), value is None)

    def read(self) -> CellColumns:
        """The columns of all samples that came."""
        return CellColumns(
            figures=tuple(column.read() for column in [*self._of_score, *(column for column, _ in self._of_repeats)]),
            statuses={str(status): count for status, count in self._statuses.items()},
            num_gaps=self._num_gaps,
            noise=self._noise.read(),
            model_noise=self._model_noise.read(),
        )

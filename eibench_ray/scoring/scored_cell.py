"""Columns of a cell that comparing needs: scores and lengths, in the dataset's order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eibench_ray.scoring.repeat_noise import RepeatNoise
from eibench_ray.scoring.scorer import Metric


@dataclass(frozen=True, slots=True)
class Contest:
    """The other side of a cell whose answers are held against a baseline's. Its values are shares of a win.

    Attributes:
        judge: the judge's name where no baseline is told.
        answers: ids of the steps whose answers are the baseline's, as `ScoredCell.answers` has them.
        verdicts: ids of the steps that compared: the same for the baseline's cell against this one.
    """

    judge: str
    model: str
    setting: str
    answers: str
    verdicts: frozenset[str]


@dataclass(frozen=True, slots=True)
class ScoredCell:
    """One cell's figures per sample. Cells of one dataset have the same samples at the same places.

    Attributes:
        family, judge_family: whose kin the model and its judge are; None: not known.
    """

    model: str
    setting: str
    dataset: str
    judge: str
    self_judged: bool  # the judge is the model under test
    answers: str  # ids of the steps whose answers were graded
    metric: Metric  # whose values they are
    values: NDArray[np.float64]  # (samples,), mean over repeats of setting and judge; NaN where there is none
    words: NDArray[np.float64]  # (samples,) of the answer, the mean over its repeats; NaN where there is none
    clusters: NDArray[np.int32]  # (samples,), the code of each sample's picture; one array for all cells of a dataset
    family: str | None = None
    judge_family: str | None = None
    labels: NDArray[np.float64] | None = None  # (samples,) that people gave, NaN where there is none
    noise: RepeatNoise | None = None  # of the judge's repeats; None where it was asked once
    model_noise: RepeatNoise | None = None  # of the model's repeats, likewise
    contest: Contest | None = None  # None where answers are judged by themselves

    @property
    def graded(self) -> tuple[object, ...]:
        """Key of what was graded and in which metric: judges agree or differ where this is the same.

        The very same answers of the same cell, and those that they are held against.
        """
        return self.metric, self.model, self.setting, self.answers, self.contest and self.contest.answers

    @property
    def is_of_judges_family(self) -> bool:
        """Whether the model is its judge, or is known to be of its family."""
        return self.self_judged or (self.family is not None and self.family == self.judge_family)

"""What comparing needs of a cell: a column of recalls and a column of lengths, in the dataset's order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class GradedCell:
    """One cell's figures per sample. Cells of one dataset have the same samples at the same places.

    Attributes:
        self_judged: the judge is the model under test.
        answers: id of the step whose answers were graded.
        recall: (samples,), NaN where there is no verdict that counts.
        words: (samples,) of the answer, NaN where there is none.
        clusters: (samples,), the code of each sample's picture; one array for all cells of a dataset.
    """

    model: str
    setting: str
    dataset: str
    judge: str
    self_judged: bool
    answers: str
    recall: NDArray[np.float64]
    words: NDArray[np.float64]
    clusters: NDArray[np.int32]

"""Scores cells from their rows, by columns and a range of samples after the other; each step is read once for all."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eibench_ray.datasets.dataset import Dataset
from eibench_ray.datasets.sample_table import SampleTable
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.slices import cut
from eibench_ray.runs.cell_counts import CountMeter
from eibench_ray.runs.range_scorer import KnownScores, RangeScorer
from eibench_ray.runs.score_reader import Reader
from eibench_ray.runs.scored_columns import ScoredColumns
from eibench_ray.runs.step_rows import StepReader, StepRows
from eibench_ray.scoring.cell_columns import CellMeter
from eibench_ray.scoring.judged.jury import AgreementMeter
from eibench_ray.store.slice_store import Store

RANGE_ROWS = 1024
COLUMN_ROWS = 4096  # of which no row is an object: each range takes some milliseconds of its own


def range_rows(store: Store, cells: Sequence[Cell], *, in_columns: bool = False) -> int:
    """Samples that are read at once: as many as the longest slice, as a shorter range would read it several times."""
    least = COLUMN_ROWS if in_columns else RANGE_ROWS
    return max(least, *(store.slice_rows(step) or 0 for cell in cells for step in cell.steps))


def score_cells(
    plan: Plan, store: Store, dataset: Dataset, cells: Sequence[Cell], readers: Sequence[Reader]
) -> list[ScoredColumns]:
    """The scores of some cells of one dataset; a sample leaves 20 bytes for each cell of one judge, and 8 in a jury.

    Args:
        plan: the sweep.
        store: its rows.
        dataset: theirs.
        cells: at least one.
        readers: of each cell's scores.
    """
    known = KnownScores()
    meters = [_CellMeter(plan, cell, reader, known) for cell, reader in zip(cells, readers, strict=True)]
    in_order = sorted(zip(cells, meters, strict=True), key=lambda one: one[0].answers)  # so that few answers are held
    index = dataset.index()
    for part in cut("", plan.datasets[cells[0].dataset].rows, range_rows(store, cells, in_columns=True)):
        samples = dataset.table(part)
        rows = StepReader(store, index, part)
        left = Counter(step for cell in cells for step in cell.steps)
        for cell, meter in in_order:
            meter.add(samples, {step: rows.read(plan.steps[step]) for step in cell.steps})
            left.subtract(cell.steps)
            for step in cell.steps:
                if not left[step]:
                    rows.drop(step)
    return [meter.read() for meter in meters]


class _CellMeter:
    """One cell while its samples come."""

    def __init__(self, plan: Plan, cell: Cell, reader: Reader, known: KnownScores) -> None:
        self._cell = cell
        self._scorer = RangeScorer(cell, reader, known)
        self._scores = CellMeter(reader.metrics, len(cell.answers))
        self._counts = CountMeter(plan, cell)
        self._agreement = AgreementMeter()
        self._words = array("d")

    def add(self, samples: SampleTable, rows: dict[str, StepRows]) -> None:
        columns = self._scorer.read(samples, rows)
        self._scores.add_columns(columns)
        if self._cell.jurors:
            for scores in zip(*(column.scores for column in columns), strict=True):
                self._agreement.add(scores)
        self._counts.add(rows, columns)
        self._add_words([rows[step].words for step in self._cell.answers])

    def read(self) -> ScoredColumns:
        words = np.frombuffer(self._words, np.float64)
        return ScoredColumns(self._scores.read(), self._counts.counts, words, self._agreement.read())

    def _add_words(self, words: Sequence[NDArray[np.int64]]) -> None:
        counts = np.array(words)
        is_text = counts >= 0
        with np.errstate(invalid="ignore"):
            self._words.frombytes((np.where(is_text, counts, 0).sum(axis=0) / is_text.sum(axis=0)).tobytes())

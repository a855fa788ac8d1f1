"""Scores cells from their rows, by columns and a range of samples after the other; each step is read once for all."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eibench_ray.datasets.dataset import Dataset
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.slices import cut
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.cell_counts import CountMeter
from eibench_ray.runs.score_reader import Reader
from eibench_ray.runs.scored_columns import ScoredColumns
from eibench_ray.runs.step_rows import StepReader, StepRows
from eibench_ray.scoring.answer_repeats import by_answer
from eibench_ray.scoring.cell_columns import CellMeter
from eibench_ray.scoring.judged.jury import AgreementMeter
from eibench_ray.scoring.scorer import Score
from eibench_ray.store.slice_store import Store

RANGE_ROWS = 1024


def range_rows(store: Store, cells: Sequence[Cell]) -> int:
    """Samples that are read at once: as many as the longest slice, as a shorter range would read it several times."""
    return max(RANGE_ROWS, *(store.slice_rows(step) or 0 for cell in cells for step in cell.steps))


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
    meters = [_CellMeter(plan, cell, reader) for cell, reader in zip(cells, readers, strict=True)]
    index = dataset.index()
    for part in cut("", plan.datasets[cells[0].dataset].rows, range_rows(store, cells)):
        samples = part.pick(dataset.samples(part.start, part.stop))
        rows = StepReader(store, index, part)
        left = Counter(step for cell in cells for step in cell.steps)
        for cell, meter in zip(cells, meters, strict=True):
            meter.add(samples, {step: rows.read(plan.steps[step]) for step in cell.steps})
            left.subtract(cell.steps)
            for step in cell.steps:
                if not left[step]:
                    rows.drop(step)
    return [meter.read() for meter in meters]


def read_scores(
    reader: Reader, cell: Cell, samples: Sequence[Sample], rows: Mapping[str, StepRows]
) -> Iterator[tuple[Score | None, ...]]:
    """Yields the scores of each sample, answer by answer; None where one is not asked yet.

    Args:
        reader: of the cell's scores.
        cell: the cell.
        samples: of a range.
        rows: about them, by step.
    """
    answers = [rows[step].results for step in cell.answers]
    replies = [rows[step].results for step in cell.verdicts]
    if len(answers) == 1:
        said = zip(*replies, strict=True) if replies else [()] * len(samples)
        yield from map(reader.read, samples, answers[0], said)
        return
    by_repeat = by_answer(replies, len(answers))
    for place, sample in enumerate(samples):
        yield tuple(
            score
            for answer, judged in zip(answers, by_repeat, strict=True)
            for score in reader.read(sample, answer[place], [reply[place] for reply in judged])
        )


class _CellMeter:
    """One cell while its samples come."""

    def __init__(self, plan: Plan, cell: Cell, reader: Reader) -> None:
        self._cell = cell
        self._reader = reader
        self._scores = CellMeter(reader.metrics, len(cell.answers))
        self._counts = CountMeter(plan, cell)
        self._agreement = AgreementMeter()
        self._words = array("d")

    def add(self, samples: Sequence[Sample], rows: dict[str, StepRows]) -> None:
        scores = list(read_scores(self._reader, self._cell, samples, rows))
        for of_sample in scores:
            self._scores.add(of_sample)
            if self._cell.jurors:
                self._agreement.add(of_sample)
        self._counts.add(rows, scores)
        self._add_words([rows[step].words for step in self._cell.answers])

    def read(self) -> ScoredColumns:
        words = np.frombuffer(self._words, np.float64)
        return ScoredColumns(self._scores.read(), self._counts.counts, words, self._agreement.read())

    def _add_words(self, words: Sequence[Sequence[int]]) -> None:
        counts = np.array(words)
        is_text = counts >= 0
        with np.errstate(invalid="ignore"):
            self._words.frombytes((np.where(is_text, counts, 0).sum(axis=0) / is_text.sum(axis=0)).tobytes())

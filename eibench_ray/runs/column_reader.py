"""Reads the columns of cells' scores: from the store where it keeps them, else from the rows, and keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from eibench_ray.datasets.dataset import Dataset
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.runs.cell_scorer import score_cells
from eibench_ray.runs.score_reader import Reader, make_reader
from eibench_ray.runs.score_sources import ScoreSources, digest_samples
from eibench_ray.runs.scored_columns import ScoredColumns, from_stored, to_stored
from eibench_ray.store.score_file import read_scores, write_scores
from eibench_ray.store.slice_store import Store

# Samples times cells that are scored at once: some 20 bytes each.
_MOST_VALUES = 5_000_000


class ColumnReader:
    """Reads columns of a plan's cells.

    Args:
        plan: the sweep.
        store: its rows.
        dataset: opens a dataset of the plan.
    """

    def __init__(self, plan: Plan, store: Store, dataset: Callable[[str], Dataset]) -> None:
        self._plan = plan
        self._store = store
        self._dataset = dataset
        self._can_write = True  # until the store refuses: each refusal of a bucket may take seconds
        self._samples: dict[str, str] = {}  # dataset -> digest of the samples that the plan asks

    def read(self, cells: Sequence[Cell], *, anew: bool = False) -> Iterator[tuple[Cell, ScoredColumns]]:
        """Yields cells with the columns of their scores, in their order.

        Args:
            cells: the cells.
            anew: whether columns that the store keeps are made again.
        """
        sources = ScoreSources(self._plan, self._store, {cell.dataset: self._digest(cell.dataset) for cell in cells})
        readers = {cell.key: make_reader(cell) for cell in cells}
        made: dict[str, ScoredColumns] = {}
        for number, cell in enumerate(cells):
            if cell.key not in made:
                if not anew and (kept := self._find(cell, readers[cell.key], sources)):
                    yield cell, kept
                    continue
                others = (one for one in cells[number + 1 :] if one.dataset == cell.dataset)
                lacking = (one for one in others if anew or not self._find(one, readers[one.key], sources))
                made |= self._make(cell, lacking, readers, sources)
            yield cell, made.pop(cell.key)

    def _digest(self, dataset: str) -> str:
        if dataset not in self._samples:
            self._samples[dataset] = digest_samples(self._dataset(dataset), self._plan.datasets[dataset])
        return self._samples[dataset]

    def _find(self, cell: Cell, reader: Reader, sources: ScoreSources) -> ScoredColumns | None:
        if (made_from := sources.of(cell, reader)) is None:
            return None
        stored = read_scores(self._store, cell.key, made_from)
        try:
            return from_stored(stored, reader.metrics, len(cell.answers)) if stored else None
        except (ValueError, KeyError, TypeError):
            return None  # another version kept them

    def _make(
        self, cell: Cell, others: Iterable[Cell], readers: Mapping[str, Reader], sources: ScoreSources
    ) -> dict[str, ScoredColumns]:
        """Columns of a cell, and of as many others on its dataset as the memory allows."""
        most = _MOST_VALUES // max(1, self._plan.datasets[cell.dataset].num_rows)
        cells = [cell, *islice(others, max(0, most - 1))]
        # Before a row is read: what is written meanwhile makes the columns out of date.
        made_from = [sources.of(cell, readers[cell.key]) for cell in cells]
        scored = score_cells(
            self._plan, self._store, self._dataset(cell.dataset), cells, [readers[cell.key] for cell in cells]
        )
        for one, digest, columns in zip(cells, made_from, scored, strict=True):
            # What a scorer fails on may be its surroundings, whose changes nobody sees.
            if self._can_write and digest is not None and not columns.counts.num_unscored:
                self._can_write = write_scores(self._store, one.key, digest, to_stored(columns))
        return {one.key: columns for one, columns in zip(cells, scored, strict=True)}

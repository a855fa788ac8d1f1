"""Rows of steps over a range of samples, as columns: each slice is read once, and of it what scoring looks at."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eibench_ray.datasets.dataset import DatasetIndex
from eibench_ray.plan.graph import Step
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.completion import WHOLE, RowResult
from eibench_ray.rows.digests import digest_input
from eibench_ray.store.slice_format import SCHEMA
from eibench_ray.store.slice_store import CommittedSlice, Store
from eibench_ray.store.slice_summary import digest_column, digest_sources

_READ = ["sample_id", "input_digest", "output_digest"]
_TEXTS = ["text", "error_kind", "error", "finish_reason"]
_RESULT = [*_TEXTS, "thinking_tokens", "likelihoods"]
_NUMBERS = ["cost_usd", "mean_logprob", "thinking_tokens"]


@dataclass(slots=True)
class StoredResult(RowResult):
    """The part of a row that scoring looks at."""

    text: str | None
    error_kind: str | None
    error: str | None
    finish_reason: str | None
    thinking_tokens: int | None
    likelihoods: str | None


class StepRows:
    """A step's rows about some samples, in their order; of a sample without a current row nothing is known.

    Args:
        table: a row for each sample; what stands where it is not current is of no meaning.
        is_current: (samples,) whether the row was made from what the dataset and the earlier steps say now.
        outputs: what later steps read, likewise.
    """

    def __init__(self, table: pa.Table, is_current: NDArray[np.bool_], outputs: Sequence[str | None]) -> None:
        self._table = table
        self.is_current = is_current
        self.outputs = outputs

    @cached_property
    def results(self) -> list[StoredResult | None]:
        """The rows; None where a sample has none."""
        rows = map(StoredResult, *(_read_column(self._table, name) for name in _RESULT))
        if self.is_current.all():
            return list(rows)
        return [row if is_there else None for row, is_there in zip(rows, self.is_current.tolist(), strict=True)]

    @cached_property
    def words(self) -> list[int]:
        """Words of each text; -1 where there is none."""
        texts = (None if row is None else row.text for row in self.results)
        return [-1 if text is None else len(text.split()) for text in texts]

    @cached_property
    def unusual(self) -> list[int]:
        """Places of the rows of which more is to be said than that they are whole texts."""
        known: dict[tuple[str | None, str | None], bool] = {}
        found = []
        for place, row in enumerate(self.results):
            if row is None:
                continue
            key = row.error_kind, row.finish_reason
            if (is_whole := known.get(key)) is None:
                made = StoredResult("a word", key[0], None, key[1], None, None)
                is_whole = known[key] = made.ending == WHOLE
            if not (is_whole and row.text and not row.text.isspace()):
                found.append(place)
        return found

    @cached_property
    def costs(self) -> NDArray[np.float64] | None:
        """(samples,) US dollars, NaN where a row has no price; None where none has."""
        return self._numbers("cost_usd")

    @cached_property
    def logprobs(self) -> NDArray[np.float64] | None:
        """(samples,) each row's mean log probability, likewise."""
        return self._numbers("mean_logprob")

    def _has(self, name: str) -> bool:
        return bool(self._table[name].null_count < len(self._table))

    def _numbers(self, name: str) -> NDArray[np.float64] | None:
        if not self._has(name):
            return None
        return np.where(self.is_current, self._table[name].to_numpy().astype(np.float64), np.nan)


class StepReader:
    """Reads steps' rows over one range of samples; those of a step are kept until they are dropped.

    Args:
        store: where they are.
        index: of the dataset.
        part: the range, and which samples of it the plan asks.
    """

    def __init__(self, store: Store, index: DatasetIndex, part: Slice) -> None:
        self._store = store
        self._numbers = part.rows
        rows = part.pick(list(index.rows(part.start, part.stop)))
        self._ids = [sample_id for sample_id, _ in rows]
        self._digests = [digest for _, digest in rows]
        self._known: dict[str, StepRows] = {}

    def read(self, step: Step) -> StepRows:
        """The rows of a step whose inputs were read before."""
        if step.id not in self._known:
            self._known[step.id] = self._read(step, [self._known[source] for source in step.inputs.values()])
        return self._known[step.id]

    def drop(self, step_id: str) -> None:
        """Forgets the rows of a step."""
        self._known.pop(step_id, None)

    def _read(self, step: Step, sources: Sequence[StepRows]) -> StepRows:
        columns = [*_READ, *_TEXTS, *_NUMBERS, *(["likelihoods"] if step.choices else [])]
        size = self._store.slice_rows(step.id)
        indexes = sorted({number // size for number in self._numbers}) if size else []
        tables, is_current, outputs = [], np.zeros(len(self._ids), np.bool_), list[str | None]()
        for index, committed in zip(indexes, self._store.read_tables(step.id, indexes, columns), strict=True):
            assert size is not None
            place = slice(*(bisect_left(self._numbers, edge * size) for edge in (index, index + 1)))
            if committed is None:
                tables.append(_no_rows(columns, place.stop - place.start))
                outputs += [None] * (place.stop - place.start)
                continue
            table, is_whole = self._align(committed, place)
            tables.append(table)
            outputs += table["output_digest"].to_pylist()
            if is_whole and self._is_made_from(committed, place, sources):
                is_current[place] = True
            else:
                is_current[place] = self._compare(table, place, sources)
        table = pa.concat_tables(tables) if tables else _no_rows(columns, len(self._ids))
        return StepRows(table, is_current, outputs or [None] * len(self._ids))

    def _align(self, committed: CommittedSlice, place: slice) -> tuple[pa.Table, bool]:
        """A slice's rows about the samples of a place, and whether these are all that the slice was asked."""
        ids, table = self._ids[place], committed.table
        first = table.slice(0, len(ids))
        if first["sample_id"].to_pylist() == ids:
            return first, committed.summary.num_rows == len(ids)
        places = {sample_id: row for row, sample_id in enumerate(table["sample_id"].to_pylist())}
        return table.take(pa.array([places.get(sample_id) for sample_id in ids], pa.int64())), False

    def _is_made_from(self, committed: CommittedSlice, place: slice, sources: Sequence[StepRows]) -> bool:
        """Whether a slice says of itself that it was made from what it would be made from today."""
        if committed.summary.made_from is None or not all(source.is_current[place].all() for source in sources):
            return False
        outputs = [digest_column(map(str, source.outputs[place])) for source in sources]
        return committed.summary.made_from == digest_sources(digest_column(self._digests[place]), outputs)

    def _compare(self, table: pa.Table, place: slice, sources: Sequence[StepRows]) -> NDArray[np.bool_]:
        """Which rows were made from what they would be made from today, looked at one by one."""
        has_sources = np.ones(len(table), np.bool_)
        for source in sources:
            has_sources &= source.is_current[place]
        outputs = zip(*(source.outputs[place] for source in sources), strict=True) if sources else [()] * len(table)
        rows = zip(table["input_digest"].to_pylist(), self._digests[place], outputs, has_sources.tolist(), strict=True)
        return np.array(
            [
                is_asked and made_from is not None and made_from == digest_input(digest, list(map(str, read)))
                for made_from, digest, read, is_asked in rows
            ],
            np.bool_,
        )


def _read_column(table: pa.Table, name: str) -> list[Any]:
    """A column's values; one that was not asked for has none."""
    values: list[Any] = table[name].to_pylist() if name in table.column_names else [None] * len(table)
    return values


def _no_rows(columns: Sequence[str], size: int) -> pa.Table:
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    return pa.Table.from_arrays([pa.nulls(size, field.type) for field in schema], schema=schema)

"""Rows of steps over a range of samples, as columns: each slice is read once, and of it what is looked at."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from eibench_ray.datasets.dataset import DatasetIndex
from eibench_ray.plan.graph import Step
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.completion import WHOLE, Completion, RowResult
from eibench_ray.rows.digests import digest_input
from eibench_ray.runs.word_counts import count_words
from eibench_ray.store.slice_format import SCHEMA
from eibench_ray.store.slice_store import CommittedSlice, Store
from eibench_ray.store.slice_summary import Summary, digest_arrays, digest_column, digest_sources

_ROW = ["sample_id", "input_digest", "output_digest"]  # what says of a single row whether it is current
COMPLETION = [field.name for field in fields(Completion)]
_RESULT = ["text", "error_kind", "error", "finish_reason", "thinking_tokens", "likelihoods"]

_Row = TypeVar("_Row", bound=RowResult)


@dataclass(slots=True)
class StoredResult(RowResult):
    """The part of a row that scoring looks at."""

    text: str | None
    error_kind: str | None
    error: str | None
    finish_reason: str | None
    thinking_tokens: int | None
    likelihoods: str | None


@dataclass(frozen=True, slots=True)
class SlicePart:
    """The part of a slice that is about the samples of a range.

    Attributes:
        place: where these samples stand in the range.
        table: a row for each of them; a column without a value may be left out.
        outputs: digest of what later steps read from them, where the slice says it; None: its rows do.
    """

    index: int
    place: slice
    table: pa.Table
    outputs: str | None


class StepRows:
    """A step's rows about some samples, in their order; of a sample without a current row nothing is known.

    Args:
        parts: of its slices, in order; what stands there where a row is not current is of no meaning.
        is_current: (samples,) whether the row was made from what the dataset and the earlier steps say now.
        read_outputs: the output digests of a slice's rows.
    """

    def __init__(
        self, parts: Sequence[SlicePart], is_current: NDArray[np.bool_], read_outputs: Callable[[int], list[str]]
    ) -> None:
        self._parts = parts
        self.is_current = is_current
        self._read_outputs = read_outputs

    @cached_property
    def are_all_current(self) -> bool:
        """Whether each sample has a current row."""
        return bool(self.is_current.all())

    @cached_property
    def outputs(self) -> list[str]:
        """Digests of what later steps read, row by row."""
        found: list[str] = []
        for part in self._parts:
            size = part.place.stop - part.place.start
            known = part.table["output_digest"].to_pylist() if part.outputs is None else self._read_outputs(part.index)
            found += map(str, known[:size])
        return found

    def digest_outputs(self, place: slice) -> str:
        """Digest of what later steps read from some rows."""
        for part in self._parts:
            if part.place == place and part.outputs is not None:
                return part.outputs
        return digest_column(self.outputs[place])

    def column(self, name: str) -> pa.ChunkedArray | None:
        """A column, with nothing where a row is not current; None where it has nothing at all."""
        kind = SCHEMA.field(name).type
        chunks: list[pa.Array] = []
        has_some = False
        for part in self._parts:
            if (place := part.table.schema.get_field_index(name)) < 0:
                chunks.append(pa.nulls(len(part.table), kind))
            else:
                column = part.table.column(place)
                has_some = has_some or column.null_count < len(column)
                chunks += column.chunks
        if not has_some:
            return None
        column = pa.chunked_array(chunks, kind)
        return column if self.are_all_current else pc.if_else(pa.array(self.is_current), column, pa.scalar(None, kind))

    @cached_property
    def texts(self) -> list[str | None]:
        """The texts; None where there is none."""
        return list(self._values("text"))

    def result(self, place: int) -> StoredResult | None:
        """The row of one sample; None where it has none."""
        return StoredResult(*(column[place] for column in self._results)) if self.is_current[place] else None

    @cached_property
    def results(self) -> list[StoredResult | None]:
        """The rows; None where a sample has none."""
        return self._mark(map(StoredResult, *self._results))

    @cached_property
    def completions(self) -> list[Completion | None]:
        """The rows with all that the store has of them, which is to be read as `COMPLETION`."""
        return self._mark(map(Completion, *map(self._values, COMPLETION)))

    @cached_property
    def are_answers(self) -> NDArray[np.bool_]:
        """(samples,) whether a row is a text, and no error."""
        texts, kinds = self.column("text"), self.column("error_kind")
        if texts is None:
            return np.zeros(len(self.is_current), np.bool_)
        found: NDArray[np.bool_] = texts.is_valid().to_numpy()
        return found if kinds is None else found & kinds.is_null().to_numpy()

    @cached_property
    def words(self) -> NDArray[np.int64]:
        """(samples,) words of each text; -1 where there is none."""
        texts = self.column("text")
        return np.full(len(self.is_current), -1) if texts is None else count_words(texts)

    @cached_property
    def unusual(self) -> list[int]:
        """Places of the rows of which more is to be said than that they are whole texts."""
        texts = self.column("text")
        if texts is None:
            return [place for place, is_there in enumerate(self.is_current.tolist()) if is_there]
        has_word = (
            pc.and_not(pc.greater(pc.binary_length(texts), 0), pc.utf8_is_space(texts)).fill_null(False).to_numpy()
        )
        are_usual = has_word & self.are_answers & self._are_whole
        found: list[int] = np.flatnonzero(self.is_current & ~are_usual).tolist()
        return found

    @property
    def _are_whole(self) -> NDArray[np.bool_]:
        """(samples,) whether a row ended as a whole text does."""
        reasons = self.column("finish_reason") or pa.chunked_array([pa.nulls(len(self.is_current), pa.string())])
        codes = reasons.combine_chunks().dictionary_encode(null_encoding="encode")
        made = (StoredResult("a word", None, None, reason, None, None) for reason in codes.dictionary.to_pylist())
        are_whole = np.array([one.ending == WHOLE for one in made], np.bool_)
        found: NDArray[np.bool_] = are_whole[codes.indices.to_numpy()]
        return found

    @cached_property
    def costs(self) -> NDArray[np.float64] | None:
        """(samples,) US dollars, NaN where a row has no price; None where none has."""
        return self._numbers("cost_usd")

    @cached_property
    def logprobs(self) -> NDArray[np.float64] | None:
        """(samples,) each row's mean log probability, likewise; of verdicts it is not read."""
        return self._numbers("mean_logprob")

    @cached_property
    def _results(self) -> list[list[Any]]:
        return [self.texts, *(list(self._values(name)) for name in _RESULT[1:])]

    def _mark(self, rows: Iterable[_Row]) -> list[_Row | None]:
        if self.are_all_current:
            return list(rows)
        return [row if is_there else None for row, is_there in zip(rows, self.is_current.tolist(), strict=True)]

    def _numbers(self, name: str) -> NDArray[np.float64] | None:
        column = self.column(name)
        return None if column is None else column.to_numpy().astype(np.float64)

    def _values(self, name: str) -> Iterable[Any]:
        column = self.column(name)
        return repeat(None, len(self.is_current)) if column is None else column.to_pylist()


class StepReader:
    """Reads steps' rows over one range of samples; those of a step are kept until they are dropped.

    Args:
        store: where they are.
        index: of the dataset.
        part: the range, and which samples of it the plan asks.
        more: columns that are read beside those that scoring looks at.
    """

    def __init__(self, store: Store, index: DatasetIndex, part: Slice, more: Sequence[str] = ()) -> None:
        self._store = store
        self._index = index
        self._part = part
        self._digests = index.digest_array(part)
        self._numbers = part.rows[: len(self._digests)]  # a dataset may have lost some since
        self._more = more
        self._known: dict[str, StepRows] = {}
        self._places: dict[int, dict[int, slice]] = {}  # by rows per slice
        self._sources: dict[tuple[int, int], str] = {}  # digests of `_digests`, by where they begin and end

    def read(self, step: Step) -> StepRows:
        """The rows of a step whose inputs were read before."""
        if step.id not in self._known:
            self._known[step.id] = self._read(step, [self._known[source] for source in step.inputs.values()])
        return self._known[step.id]

    def drop(self, step_id: str) -> None:
        """Forgets the rows of a step."""
        self._known.pop(step_id, None)

    @cached_property
    def _ids(self) -> Sequence[str]:
        rows = self._index.rows(self._part.start, self._part.stop)
        return self._part.pick([sample_id for sample_id, _ in rows])

    def _read(self, step: Step, sources: Sequence[StepRows]) -> StepRows:
        size = self._store.slice_rows(step.id)
        places = self._find_places(size) if size else {}
        whole: dict[int, bool] = {}

        def choose(index: int, summary: Summary) -> list[str]:
            whole[index] = self._is_made_from(summary, places[index], sources)
            return self._choose(step, summary, is_whole=whole[index])

        is_current = np.zeros(len(self._numbers), np.bool_)
        parts = []
        committed = self._store.read_tables(step.id, list(places), choose)
        for (index, place), one in zip(places.items(), committed, strict=True):
            if one is not None and whole[index]:
                parts.append(SlicePart(index, place, one.table.slice(0, one.summary.num_rows), one.summary.outputs))
                is_current[place] = True
                continue
            table = self._align(one, place)
            parts.append(SlicePart(index, place, table, None))
            is_current[place] = self._compare(table, place, sources)
        if not places:  # the store does not know the step
            everything = slice(0, len(self._numbers))
            parts.append(SlicePart(0, everything, self._align(None, everything), None))
        # Not this reader's own method: the rows that it keeps would keep it in turn, until garbage is collected.
        return StepRows(parts, is_current, partial(self._store.read_outputs, step.id))

    def _find_places(self, size: int) -> dict[int, slice]:
        """Places of each slice's samples in the range, of slices of so many rows."""
        if size not in self._places:
            self._places[size] = {
                index: slice(*(bisect_left(self._numbers, edge * size) for edge in (index, index + 1)))
                for index in sorted({number // size for number in self._numbers})
            }
        return self._places[size]

    def _choose(self, step: Step, summary: Summary, *, is_whole: bool) -> list[str]:
        """The columns of a slice that may say something."""
        has = dict.fromkeys(_ROW, not is_whole) | {
            "text": True,
            "finish_reason": True,
            "error_kind": not is_whole or summary.num_errors > 0,
            "error": not is_whole or summary.num_errors > 0,
            "thinking_tokens": not is_whole or summary.num_truncated > 0,
            "likelihoods": bool(step.choices),
            "cost_usd": summary.cost_usd is not None,
            "mean_logprob": step.scorer is None,
        }
        has |= dict.fromkeys(self._more, True)
        return [name for name, is_so in has.items() if is_so]

    def _is_made_from(self, summary: Summary, place: slice, sources: Sequence[StepRows]) -> bool:
        """Whether a slice says of itself that it was made from what it would be made from today."""
        if summary.made_from is None or summary.num_rows != place.stop - place.start:
            return False
        if not all(source.is_current[place].all() for source in sources):
            return False
        outputs = [source.digest_outputs(place) for source in sources]
        ends = place.start, place.stop
        if ends not in self._sources:
            self._sources[ends] = digest_arrays([self._digests[place]])
        return summary.made_from == digest_sources(self._sources[ends], outputs)

    def _align(self, committed: CommittedSlice | None, place: slice) -> pa.Table:
        """A slice's rows about the samples of a place."""
        if committed is None:
            schema = pa.schema([SCHEMA.field(name) for name in _ROW])
            return pa.Table.from_arrays([pa.nulls(place.stop - place.start, one.type) for one in schema], schema=schema)
        ids, table = self._ids[place], committed.table
        first = table.slice(0, len(ids))
        if first["sample_id"].to_pylist() == ids:
            return first
        places = {sample_id: row for row, sample_id in enumerate(table["sample_id"].to_pylist())}
        return table.take(pa.array([places.get(sample_id) for sample_id in ids], pa.int64()))

    def _compare(self, table: pa.Table, place: slice, sources: Sequence[StepRows]) -> NDArray[np.bool_]:
        """Which rows were made from what they would be made from today, looked at one by one."""
        has_sources = np.ones(len(table), np.bool_)
        for source in sources:
            has_sources &= source.is_current[place]
        outputs = zip(*(source.outputs[place] for source in sources), strict=True) if sources else [()] * len(table)
        rows = zip(
            table["input_digest"].to_pylist(),
            self._digests[place].to_pylist(),
            outputs,
            has_sources.tolist(),
            strict=True,
        )
        return np.array(
            [
                is_asked and made_from is not None and made_from == digest_input(digest, read)
                for made_from, digest, read, is_asked in rows
            ],
            np.bool_,
        )

"""Slices: one Parquet file per fixed range of a step's rows, the unit of commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

import pyarrow as pa

from eibench_ray.errors import StoreError
from eibench_ray.rows.completion import Completion
from eibench_ray.storage.atomic_files import is_partial, parse_json
from eibench_ray.storage.local import open_storage
from eibench_ray.store.slice_format import (
    DAMAGE,
    FOOTER_BYTES,
    ForeignError,
    RowState,
    decode_columns,
    decode_outputs,
    decode_rows,
    decode_states,
    decode_summary,
    decode_unanswered,
    encode,
)
from eibench_ray.store.slice_summary import Summary
from eibench_ray.store.store_paths import StorePaths, slice_index
from eibench_ray.store.store_version import SCHEMA_VERSION, check_version, read_manifest, write_version

_Row = TypeVar("_Row", RowState, Completion)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class CommittedSlice:
    """Some columns of a slice's rows, in its file's order, and what it says of itself."""

    table: pa.Table
    summary: Summary


class Store:
    """The Parquet root. Reading needs only the files; writing is atomic per slice.

    A sample that moved to another slice, because its dataset lost or gained rows before it, leaves its old row behind.
    So a row counts only in the slice in whose range its sample lies now; clocks have no say in it.

    Attributes:
        root: the folder, absolute, or the URI: what opens the store again.

    Raises:
        StoreError: another version made it.
    """

    def __init__(self, root: str | PurePath) -> None:
        self.storage, path = open_storage(str(root))
        self.root = str(root) if "://" in str(root) else str(path)
        self.paths = StorePaths(path)
        self._slice_rows: dict[str, int] = {}
        self._says_version = check_version(self.storage, self.paths)

    def fix_slice_rows(self, step_id: str, slice_rows: int, description: Mapping[str, Any]) -> int:
        """The rows per slice of a step, fixed in its manifest when it first runs."""
        if (known := self.slice_rows(step_id)) is not None:
            return known
        self._say_version()
        manifest = {"schema_version": SCHEMA_VERSION, "id": step_id, "slice_rows": slice_rows, "step": description}
        self.storage.write_json(self.paths.manifest(step_id), manifest)
        return slice_rows

    def slice_rows(self, step_id: str) -> int | None:
        """The rows per slice of a step that the store knows; None for one that is new."""
        if step_id in self._slice_rows:
            return self._slice_rows[step_id]
        path = self.paths.manifest(step_id)
        if (content := self.storage.read(path)) is None:
            return None
        where = self.storage.name(path)
        return self._slice_rows.setdefault(step_id, read_manifest(parse_json(content, where), where))

    def write_slice(
        self,
        step_id: str,
        index: int,
        rows: Sequence[Completion],
        *,
        num_asked: int = 0,
        made_from: str | None = None,
    ) -> Hashable:
        """Commits a slice; one that is there is replaced. Its stamp.

        Args:
            step_id: the step.
            index: the slice's number.
            rows: first those that the run asks of the slice, in the dataset's order, then what it keeps.
            num_asked: how many these are.
            made_from: `digest_sources` of what they were made from, where all of them are there and up to date.

        Raises:
            StoreError: two rows of one sample, or the file cannot be written.
        """
        if len({row.sample_id for row in rows}) != len(rows):
            raise StoreError(f"slice {index} of step {step_id} has two rows for one sample: nothing was written")
        self._say_version()
        return self.storage.write_stamped(self.paths.slice(step_id, index), encode(rows, num_asked, made_from))

    def list_slices(self, step_id: str) -> list[int]:
        """The slices of a step that are there, in order."""
        indexes = (slice_index(entry.name) for entry in self.storage.list(self.paths.step(step_id)))
        return sorted(index for index in indexes if index is not None)

    def read_summaries(self, step_id: str, indexes: Sequence[int]) -> dict[int, Summary]:
        """Summaries of slices, read from their footers; one that is gone is left out.

        Raises:
            StoreError: one cannot be read.
        """
        found = self._map(lambda index: self._load(step_id, index, decode_summary, last=FOOTER_BYTES), indexes)
        return {index: summary for index, summary in zip(indexes, found, strict=True) if summary is not None}

    def stamp(self, step_id: str, index: int) -> Hashable:
        """Value that changes whenever a slice is written; None where it never was."""
        return self.storage.stamp(self.paths.slice(step_id, index))

    def read_slice(self, step_id: str, index: int) -> dict[str, Completion]:
        """The committed rows of a slice by sample id; empty where none was committed."""
        return self._load(step_id, index, decode_rows) or {}

    def read_rows(self, step_id: str, start: int, sample_ids: Sequence[str]) -> dict[str, Completion]:
        """The committed rows of a range of dataset rows, by sample id.

        Args:
            step_id: the step.
            start: the range's first row.
            sample_ids: of all rows in the range, in the dataset's order.
        """
        return self._pick(step_id, start, sample_ids, self.read_slice)

    def read_tables(
        self, step_id: str, indexes: Sequence[int], choose: Callable[[int, Summary], list[str]]
    ) -> list[CommittedSlice | None]:
        """Some columns of slices, with their summaries; None for one that is not there.

        Args:
            step_id: the step.
            indexes: the slices.
            choose: the columns of a slice, by its number and its summary; it may be asked by several threads.

        Raises:
            StoreError: one cannot be read.
        """

        def decode(index: int, content: bytes) -> CommittedSlice:
            summary = decode_summary(content)
            table = decode_columns(content, choose(index, summary))
            if len(table) < summary.num_rows:
                raise ForeignError(f"its footer says that it has {summary.num_rows} rows, and it has {len(table)}")
            return CommittedSlice(table, summary)

        return list(self._map(lambda index: self._load(step_id, index, partial(decode, index)), indexes))

    def stamp_slices(self, step_id: str, indexes: Sequence[int]) -> str:
        """Digest that is another one when any of some slices was written, removed or made since."""
        stamps = self.storage.stamps(self.paths.step(step_id))
        names = {index: self.paths.slice(step_id, index).name for index in indexes}
        there = {index: stamps[name] for index, name in names.items() if name in stamps}
        said: list[object] = [sorted(there.items())]
        if self.storage.is_remote:  # times in seconds: what a slice says of its rows tells writes of one second apart
            said.append(sorted(self.read_summaries(step_id, list(there)).items()))
        return hashlib.blake2b(repr(said).encode(), digest_size=16).hexdigest()

    def read_states(self, step_id: str, start: int, sample_ids: Sequence[str]) -> dict[str, RowState]:
        """Row states of a range, as `read_rows` gives rows; decodes the narrow columns only."""

        def read(step_id: str, index: int) -> dict[str, RowState]:
            return self._load(step_id, index, decode_states) or {}

        return self._pick(step_id, start, sample_ids, read)

    def read_outputs(self, step_id: str, index: int) -> list[str]:
        """The output digests of a slice's rows, in its file's order."""
        return self._load(step_id, index, decode_outputs) or []

    def read_unanswered(self, step_id: str, index: int) -> dict[str, str]:
        """The samples without an answer in a committed slice, with the kind of the error, or `absent`."""
        return self._load(step_id, index, decode_unanswered) or {}

    def count_endings(self, step_id: str, num_rows: int) -> tuple[int, int]:
        """Number of replies to a step's first `num_rows` rows that were truncated, and that are empty."""
        wanted = set(self.slices_of(step_id, 0, num_rows))
        summaries = self.read_summaries(step_id, [index for index in self.list_slices(step_id) if index in wanted])
        found = summaries.values()
        return sum(summary.num_truncated for summary in found), sum(summary.num_empty for summary in found)

    def read_cost(self, step_id: str) -> float:
        """Cost of all committed rows of a step, in US dollars, those that no run asks any more included."""
        summaries = self.read_summaries(step_id, self.list_slices(step_id))
        return sum(summary.cost_usd or 0.0 for summary in summaries.values())

    def remove_partial(self, step_id: str) -> None:
        """Removes what killed writes have left in a step's folder, in which nobody else may be writing."""
        folder = self.paths.step(step_id)
        for entry in self.storage.list(folder):
            if is_partial(entry.name):
                self.storage.remove(folder / entry.name)

    def slices_of(self, step_id: str, start: int, stop: int) -> Sequence[int]:
        """The slices of a step that a range of dataset rows touches."""
        size = self.slice_rows(step_id)
        return () if size is None or stop <= start else range(start // size, (stop - 1) // size + 1)

    def _say_version(self) -> None:
        """Writes into a new store which version it is of, before its first step."""
        if not self._says_version:
            write_version(self.storage, self.paths)
            self._says_version = True

    def _pick(
        self,
        step_id: str,
        start: int,
        sample_ids: Sequence[str],
        read: Callable[[str, int], dict[str, _Row]],
    ) -> dict[str, _Row]:
        """By sample id, the row that the slice has in whose range the sample lies."""
        indexes = self.slices_of(step_id, start, start + len(sample_ids))
        size = self.slice_rows(step_id) or 1
        found: dict[str, _Row] = {}
        for index, rows in zip(indexes, self._map(partial(read, step_id), indexes), strict=True):
            for sample_id in sample_ids[max(0, index * size - start) : (index + 1) * size - start]:
                if (row := rows.get(sample_id)) is not None:
                    found[sample_id] = row
        return found

    def _map(self, read: Callable[[int], _T], indexes: Sequence[int]) -> Sequence[_T]:
        """Results of reading each slice, in order; several at the same time where it pays."""
        num_threads = min(self.storage.num_threads, len(indexes) // self.storage.reads_per_thread)
        if num_threads < 2:
            return [read(index) for index in indexes]
        # Each thread takes every so manieth slice: a future per slice costs more than reading it from memory.
        found: dict[int, _T] = {}
        with ThreadPoolExecutor(num_threads) as pool:
            parts = [indexes[first::num_threads] for first in range(num_threads)]
            for pairs in pool.map(lambda part: [(index, read(index)) for index in part], parts):
                found.update(pairs)
        return [found[index] for index in indexes]

    def _load(self, step_id: str, index: int, decode: Callable[[bytes], _T], last: int | None = None) -> _T | None:
        """Decodes a slice's file, or as many bytes of its end; None where there is no file."""
        path = self.paths.slice(step_id, index)
        content = self.storage.read(path, last)
        while content is not None:
            try:
                return decode(content)
            except ForeignError as error:
                reason, remedy = str(error), "another program wrote it: restore it, or move it away, and its"
            except DAMAGE as error:
                reason = str(error)
                remedy = f"`eibench-ray fsck {self.root} --repair` moves it away, and its"
            if (again := self.storage.read(path)) == content:
                name = self.storage.name(path)
                raise StoreError(f"{name} cannot be read ({reason}): {remedy} rows are asked again")
            content = again  # it was replaced while it was read, or its footer is longer
        return None

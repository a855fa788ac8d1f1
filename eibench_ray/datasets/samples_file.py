"""The Parquet file of a dataset's samples, read in pieces.

In a bucket, a read of some columns is a request or two: neighbouring columns come together (`pre_buffer`), and narrow
ones of several row groups at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import PurePath

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.datasets.layout import (
    PARQUET_ERRORS,
)
from eibench_ray.datasets.parquet_bounds import require_bounded
from eibench_ray.errors import DataError
from eibench_ray.storage.interface import Storage

# Row groups of which texts and digests are read at once from a bucket: each is waited for as long as all of them.
_REMOTE_GROUPS = 32


class SamplesFile:
    """The open Parquet file of a dataset: its footer is read once, and a dataset that replaces it is not seen."""

    def __init__(self, storage: Storage, path: PurePath) -> None:
        if (source := storage.open(path)) is None:
            raise FileNotFoundError
        self._storage = storage
        self._path = path
        self._source = source
        self._metadata = storage.attempt(path, lambda: pq.read_metadata(source))
        require_bounded(self._metadata, storage.attempt(path, source.size), path)
        self.schema = self._metadata.schema.to_arrow_schema()
        groups = range(self._metadata.num_row_groups)
        self._starts: list[int] = [0, *accumulate(self._metadata.row_group(group).num_rows for group in groups)]

    @property
    def num_rows(self) -> int:
        """Rows of all row groups; a damaged footer may say otherwise of the file."""
        return self._starts[-1]

    def tables(self, start: int, stop: int, columns: list[str]) -> Iterator[pa.Table]:
        """Some columns of the rows [start, stop), in pieces."""
        yield from (table for _, table in self._pieces(start, stop, columns, _REMOTE_GROUPS))

    def groups(self, start: int, stop: int, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """Per row group that [start, stop) touches: its first row that is in the range, and the rows in the range."""
        return self._pieces(start, stop, columns, 1)

    def _pieces(self, start: int, stop: int, columns: list[str], at_once: int) -> Iterator[tuple[int, pa.Table]]:
        stop = min(stop, self.num_rows)
        if start >= stop:
            return
        is_remote = self._storage.is_remote
        file = pq.ParquetFile(self._source, metadata=self._metadata, pre_buffer=is_remote)
        group, end = bisect_right(self._starts, start) - 1, bisect_left(self._starts, stop)
        step = at_once if is_remote else 1
        while start < stop:
            chosen = range(group, min(group + step, end))
            first, last = self._starts[group], min(self._starts[chosen.stop], stop)
            table = self._storage.attempt(self._path, partial(self._read, file, chosen, columns))
            yield start, table.slice(start - first, last - start)
            start, group = last, chosen.stop

    def _read(self, file: pq.ParquetFile, groups: range, columns: list[str]) -> pa.Table:
        try:
            table = file.read_row_groups(groups, columns=columns, use_threads=False)
            table.validate(full=True)
        except PARQUET_ERRORS as error:
            # Arrow has OSErrors of its own for damaged pages; those of a disk have a number.
            if isinstance(error, OSError) and (error.errno is not None or self._storage.is_remote):
                raise
            raise DataError(f"{self._path} is damaged ({error}): prepare the dataset again") from error
        return table

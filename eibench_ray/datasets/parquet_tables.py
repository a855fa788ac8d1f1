"""Parquet files from elsewhere: their rows one at a time, and bounds on what a small file may unpack to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.datasets.layout import PARQUET_ERRORS
from eibench_ray.datasets.parquet_bounds import MOST_ITEMS, batch_rows, count_items, require_bounded
from eibench_ray.datasets.source_tables import Row, Table
from eibench_ray.datasets.table_files import list_files, refuse_others
from eibench_ray.errors import DataError


def read_parquet(place: Path) -> Table:
    """The rows of a Parquet file, or of all Parquet files in a folder, as `datasets` and others write shards.

    Raises:
        DataError: there is none, it is something else, or it would unpack to far more than it is.
    """
    files = list_files(place, (".parquet", ".pq"))
    num_rows = 0
    for file in files:
        with file.open("rb") as opened:
            start = opened.read(512)
        if not start.startswith(b"PAR1"):
            refuse_others(file, start)
        try:
            metadata = pq.read_metadata(file)
        except PARQUET_ERRORS as error:
            kind = "JSON" if start.lstrip()[:1] in (b"{", b"[") else "something else"
            remedy = (
                "use `eibench-ray prepare jsonl`" if kind == "JSON" else "pass one, or use another `prepare` command"
            )
            raise DataError(f"{file} is not a Parquet file, but {kind} ({error}): {remedy}") from error
        require_bounded(metadata, file.stat().st_size, file)
        num_rows += metadata.num_rows
    return Table(place.name, (found for file in files for found in _read_file(file)), num_rows)


def _read_file(file: Path) -> Iterator[tuple[str, Row]]:
    number = 0
    try:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=batch_rows(table.metadata)):
                for position in range(batch.num_rows):
                    number += 1
                    yield f"{file.name}:{number}", _Row(file, number, batch, position)
    except PARQUET_ERRORS as error:
        raise DataError(
            f"{file} is damaged after row {number} ({error}): restore it, and prepare the dataset again"
        ) from error


class _Row(Mapping[str, object]):
    """One row of a batch, whose cells become Python's values when they are read: others may be large, or unknown."""

    def __init__(self, file: Path, number: int, batch: pa.RecordBatch, position: int) -> None:
        self._file = file
        self._number = number
        self._batch = batch
        self._position = position

    def __getitem__(self, name: str) -> object:
        if name not in self:
            raise KeyError(name)
        column = self._batch.column(name)
        if (num_items := count_items(column.slice(self._position, 1))) > MOST_ITEMS:
            raise DataError(
                f"{self._file}, row {self._number}, column {name}: a list of {num_items:,} items, where at most "
                f"{MOST_ITEMS:,} are read: leave the column out, or shorten it"
            )
        cell = column[self._position]
        try:
            return cell.as_py()
        except ValueError as error:
            if not pa.types.is_temporal(cell.type):
                raise DataError(
                    f"{self._file} is damaged after row {self._number - 1} (its column {name}: {error}): restore it, "
                    f"and prepare the dataset again"
                ) from error
            return cell.cast(pa.string()).as_py()  # nanoseconds, which Python's own times have not

    def __iter__(self) -> Iterator[str]:
        return iter(self._batch.schema.names)

    def __contains__(self, name: object) -> bool:
        return name in self._batch.schema.names

    def __len__(self) -> int:
        return int(self._batch.num_columns)

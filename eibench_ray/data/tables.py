"""Tables of rows from outside: JSONL, Parquet, and what the `datasets` package reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from eibench_ray.data.layout import PARQUET_ERRORS
from eibench_ray.errors import DataError

# Rows held in memory at once; with pictures of 100 KB, 6 MB.
BATCH_ROWS = 64

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to prepare, each with its place for messages.

    Attributes:
        name: what the messages call the table.
        rows: (place, columns); read once. Where the columns are None, the place says why.
        num_rows: how many there are, where that is known before they are read.
    """

    name: str
    rows: Iterable[tuple[str, Row | None]]
    num_rows: int | None = None


def read_jsonl(file: Path) -> Table:
    """The rows of a JSONL file, one object per line."""
    _require_file(file)
    return Table(file.name, _read_lines(file))


def read_parquet(file: Path) -> Table:
    """The rows of a Parquet file."""
    _require_file(file)
    try:
        num_rows = pq.read_metadata(file).num_rows
    except PARQUET_ERRORS as error:
        raise DataError(
            f"{file} is not a Parquet file ({error}): pass one, or use another `prepare` command"
        ) from error
    return Table(file.name, _read_groups(file), num_rows)


def read_hf(name: str, split: str) -> Table:
    """The rows of a dataset on the Hugging Face hub, or of a folder that `save_to_disk` wrote.

    Raises:
        DataError: the `datasets` package is not installed, or it does not find the dataset or its split.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name} needs the package `datasets`, which is not installed: run `pip install datasets`, "
            f"or export it to Parquet and use `eibench-ray prepare parquet`"
        ) from error
    try:
        found = datasets.load_from_disk(name) if Path(name).is_dir() else datasets.load_dataset(name, split=split)
        table = found[split] if isinstance(found, datasets.DatasetDict) else found
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"`datasets` does not give the split {split!r} of {name} ({error}): check the name") from error
    for column, feature in table.features.items():
        if isinstance(feature, datasets.Image):  # as its file's bytes: decoding and encoding again would change them
            table = table.cast_column(column, datasets.Image(decode=False))
    rows: Iterable[Row] = table
    return Table(name, ((f"{name}:{number}", row) for number, row in enumerate(rows, start=1)), table.num_rows)


def _require_file(file: Path) -> None:
    if not file.is_file():
        raise DataError(f"{file} is not a file: pass the table to prepare")


def _read_lines(file: Path) -> Iterator[tuple[str, Row | None]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{file.name}:{number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"{where} (not JSON: {error})", None
                continue
            yield (where, row) if isinstance(row, dict) else (f"{where} (not an object)", None)


def _read_groups(file: Path) -> Iterator[tuple[str, Row]]:
    number = 0
    try:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file.name}:{number}", row
    except PARQUET_ERRORS as error:
        raise DataError(
            f"{file} is damaged after row {number} ({error}): restore it, and prepare the dataset again"
        ) from error

"""A prepared dataset, read: its index for the planner, its rows and pictures for those who send them.

In a bucket, a read of some columns is a request or two: neighbouring columns come together (`pre_buffer`), and narrow
ones of several row groups at once.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path, PurePath
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.datasets.layout import (
    CARD_FILE,
    LAYOUT,
    PACKAGE_PREFIX,
    PARQUET_ERRORS,
    PROTOCOL_FILE,
    SCHEMA,
    name_of_samples,
)
from eibench_ray.datasets.parquet_bounds import require_bounded
from eibench_ray.datasets.prompts_file import PromptSet, load_protocol
from eibench_ray.datasets.sample_table import PATHS, SampleTable
from eibench_ray.errors import DataError
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.sample import Sample
from eibench_ray.storage.interface import Storage
from eibench_ray.storage.local import LOCAL, open_storage

_BYTES = "media.list.element.bytes"
# Row groups of which texts and digests are read at once from a bucket: each is waited for as long as all of them.
_REMOTE_GROUPS = 32


class _SamplesFile:
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


@dataclass(frozen=True, slots=True)
class DatasetIndex:
    """Ids and digests of a dataset's rows, for the planner; read for as many rows as are asked for."""

    num_rows: int  # rows that it covers
    _samples: _SamplesFile

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """All ids, in the dataset's order."""
        return tuple(sample_id for sample_id, _ in self.rows(0, self.num_rows))

    @property
    def row_digests(self) -> tuple[str, ...]:
        """All digests, in the dataset's order."""
        return tuple(row_digest for _, row_digest in self.rows(0, self.num_rows))

    def row_digests_of(self, start: int, stop: int) -> Iterator[str]:
        """Row digests of the rows [start, stop), in the dataset's order."""
        for table in self._samples.tables(start, min(stop, self.num_rows), ["row_digest"]):
            yield from table["row_digest"].to_pylist()

    def digest_array(self, part: Slice) -> pa.StringArray:
        """Row digests of the samples that a slice asks."""
        tables = self._samples.tables(part.start, min(part.stop, self.num_rows), ["row_digest"])
        chunks = [chunk for table in tables for chunk in table["row_digest"].chunks]
        column = pa.chunked_array(chunks, pa.string()).combine_chunks()
        return column if part.chosen is None else column.take(part.pick(range(len(column))))

    def rows(self, start: int, stop: int) -> Iterator[tuple[str, str]]:
        """(Sample id, row digest) of the rows [start, stop), in the dataset's order."""
        for table in self._samples.tables(start, min(stop, self.num_rows), ["sample_id", "row_digest"]):
            yield from zip(table["sample_id"].to_pylist(), table["row_digest"].to_pylist(), strict=True)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A prepared dataset, in a folder or in a bucket.

    Attributes:
        inputs, metadata: samples that have it, by name.
        protocol: the official prompts that were found when it was prepared; None: the project's own serve.
    """

    path: PurePath
    num_rows: int
    inputs: Mapping[str, int]
    metadata: Mapping[str, int]
    most_media: int  # pictures of one sample at most
    protocol: PromptSet | None
    _samples: _SamplesFile

    def index(self) -> DatasetIndex:
        """The ids and digests of all samples; nothing is read yet."""
        return DatasetIndex(self.num_rows, self._samples)

    def samples(self, start: int, stop: int) -> list[Sample]:
        """The samples of rows [start, stop), without their pictures' bytes.

        Raises:
            DataError: they are damaged.
        """
        return list(self.table(Slice("", 0, start, stop)))

    def table(self, part: Slice) -> SampleTable:
        """The samples that a slice asks, none of which is read yet."""

        def read(columns: list[str]) -> pa.Table:
            tables = list(self._samples.tables(part.start, part.stop, columns))
            table = pa.concat_tables(tables or [SCHEMA.empty_table()])
            return table if part.chosen is None else table.take(part.pick(range(len(table))))

        return SampleTable(self.path, read)

    def read_metadata(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Id and metadata of all samples, in the dataset's order; lists are lists."""
        for table in self._samples.tables(0, self.num_rows, ["sample_id", "metadata"]):
            found = self._decode(f"[{','.join(table['metadata'].to_pylist())}]")
            yield from zip(table["sample_id"].to_pylist(), found, strict=True)

    def _decode(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path} is damaged ({error}): prepare the dataset again") from error

    def has_repeated_pictures(self, rows: Sequence[int]) -> bool:
        """Whether two of some samples, given by their rows in ascending order, have pictures of the same paths."""
        wanted = rows if isinstance(rows, range) else frozenset(rows)
        tables = self._samples.tables(0, rows[-1] + 1 if rows else 0, [PATHS])
        found = enumerate(media for table in tables for media in table["media"].to_pylist())
        paths = [str(media) for number, media in found if media and number in wanted]
        return len(set(paths)) < len(paths)

    def images(self, start: int, stop: int, wanted: Collection[str]) -> dict[str, tuple[bytes, ...]]:
        """The pictures' bytes of the wanted samples in rows [start, stop), by sample id; text-only samples have none.

        Only row groups with a wanted sample are read, one at a time.
        """
        wanted = frozenset(wanted)
        found: dict[str, tuple[bytes, ...]] = {}
        if not wanted:
            return found
        for group_start, ids in self._samples.groups(start, stop, ["sample_id"]):
            if wanted.isdisjoint(ids["sample_id"].to_pylist()):
                continue
            last = group_start + ids.num_rows
            for _, table in self._samples.groups(group_start, last, ["sample_id", _BYTES]):
                for sample_id, media in zip(table["sample_id"], table["media"], strict=True):
                    if sample_id.as_py() in wanted and (images := media.as_py()):
                        found[sample_id.as_py()] = tuple(image["bytes"] for image in images)
        return found


def open_dataset(path: str, prepare: str | None = None) -> Dataset:
    """The dataset in a folder or at a URI (s3://, gs://), or one inside the package, e.g. `package:demo`.

    Args:
        path: where it lies.
        prepare: the command that makes it, to be named where it is missing; `{parent}` is the folder that it lies in.

    Raises:
        DataError: there is none, or something else lies there.
        StoreError: it cannot be read.
    """
    storage, folder = open_place(path)
    try:
        if (content := storage.read(folder / CARD_FILE)) is None:
            raise FileNotFoundError
        card: dict[str, Any] = json.loads(content)
        if (layout := card.get("layout", 1)) != LAYOUT:
            _refuse(
                path, prepare, f"another version prepared it, in layout {layout!r}, and this one reads layout {LAYOUT}"
            )
        num_rows, most_media, name = int(card["rows"]), int(card["most_media"]), name_of_samples(card)
        inputs, metadata = ({str(key): int(value) for key, value in card[it].items()} for it in ("inputs", "metadata"))
        samples = _SamplesFile(storage, folder / name)
    except FileNotFoundError:
        _refuse(path, prepare, "there is no prepared dataset there")
    except (*PARQUET_ERRORS, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        _refuse(path, prepare, f"what lies there is not a prepared dataset ({type(error).__name__}: {error})")
    if not samples.schema.equals(SCHEMA):
        _refuse(path, prepare, f"{name} has other columns than a prepared dataset")
    if samples.num_rows != num_rows:
        _refuse(path, prepare, f"{name} has {samples.num_rows} rows and {CARD_FILE} says {num_rows}")
    protocol_file = folder / PROTOCOL_FILE
    protocol = load_protocol(protocol_file, storage) if storage.stamp(protocol_file) is not None else None
    return Dataset(folder, num_rows, inputs, metadata, most_media, protocol, samples)


def open_place(path: str) -> tuple[Storage, PurePath]:
    """Storage and path of a dataset, whether it is there or is to be made.

    Raises:
        StoreError: the URI cannot be used.
    """
    if path.startswith(PACKAGE_PREFIX):
        return LOCAL, Path(__file__).parent / path.removeprefix(PACKAGE_PREFIX)
    return open_storage(path, "the dataset's path") if "://" in path else (LOCAL, Path(path))


def _refuse(path: str, prepare: str | None, reason: str) -> NoReturn:
    if path.startswith(PACKAGE_PREFIX):
        remedy = "the datasets inside the package are package:demo and package:quiz"
    elif prepare:
        remedy = f"prepare it with `{prepare.replace('{parent}', path.rpartition('/')[0] or '.')}`"
    else:
        remedy = (
            f"prepare it, e.g. with `eibench-ray prepare jsonl FILE --images PICTURES --out {path}`, or by the "
            f"command of its benchmark (`eibench-ray prepare --help` lists them)"
        )
    raise DataError(f"the dataset {path} cannot be opened: {reason}; {remedy}")

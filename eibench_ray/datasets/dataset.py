"""A prepared dataset, read: its index for the planner, its rows and pictures for those who send them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NoReturn

import pyarrow as pa

from eibench_ray.datasets.layout import (
    CARD_FILE,
    JSON_COLUMNS,
    LAYOUT,
    PARQUET_ERRORS,
    PROTOCOL_FILE,
    SCHEMA,
    name_of_samples,
)
from eibench_ray.datasets.prompts_file import PromptSet, load_protocol
from eibench_ray.datasets.samples_file import SamplesFile
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.storage.interface import Storage
from eibench_ray.storage.local import LOCAL, open_storage

PACKAGE_PREFIX = "package:"
_PATHS = "media.list.element.path"
_BYTES = "media.list.element.bytes"
_ROW_COLUMNS = ["sample_id", *JSON_COLUMNS, "media.list.element.kind", _PATHS, "media.list.element.digest"]


@dataclass(frozen=True, slots=True)
class DatasetIndex:
    """Ids and digests of a dataset's first rows, for the planner; read for as many rows as are asked for."""

    num_rows: int  # rows that it covers
    _samples: SamplesFile

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

    def rows(self, start: int, stop: int) -> Iterator[tuple[str, str]]:
        """(Sample id, row digest) of the rows [start, stop), in the dataset's order."""
        for table in self._samples.tables(start, min(stop, self.num_rows), ["sample_id", "row_digest"]):
            yield from zip(table["sample_id"].to_pylist(), table["row_digest"].to_pylist(), strict=True)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A prepared dataset, in a folder or in a bucket.

    Attributes:
        inputs, metadata: samples that have it, by name.
        protocol: the official wordings that were found when it was prepared; None: the project's own serve.
    """

    path: PurePath
    num_rows: int
    inputs: Mapping[str, int]
    metadata: Mapping[str, int]
    most_media: int  # pictures of one sample at most
    protocol: PromptSet | None
    _samples: SamplesFile

    def index(self, limit: int | None = None) -> DatasetIndex:
        """The ids and digests of the first `limit` samples; nothing is read yet."""
        return DatasetIndex(self.num_rows if limit is None else min(limit, self.num_rows), self._samples)

    def samples(self, start: int, stop: int) -> list[Sample]:
        """The samples of rows [start, stop), without their pictures' bytes.

        Raises:
            DataError: they are damaged.
        """
        tables = self._samples.tables(start, stop, _ROW_COLUMNS)
        try:
            return [sample for table in tables for sample in _to_samples(table)]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{self.path} is damaged ({error}): prepare the dataset again") from error

    def has_repeated_pictures(self, num_rows: int) -> bool:
        """Whether two of the first `num_rows` samples have pictures of the same paths."""
        tables = self._samples.tables(0, num_rows, [_PATHS])
        paths = [str(media) for table in tables for media in table["media"].to_pylist() if media]
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


def open_dataset(path: str) -> Dataset:
    """The dataset in a folder or at a URI (s3://, gs://), or the one inside the package for `package:demo`.

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
            _refuse(path, f"another version prepared it, in layout {layout!r}, and this one reads layout {LAYOUT}")
        num_rows, most_media, name = int(card["rows"]), int(card["most_media"]), name_of_samples(card)
        inputs, metadata = ({str(key): int(value) for key, value in card[it].items()} for it in ("inputs", "metadata"))
        samples = SamplesFile(storage, folder / name)
    except FileNotFoundError:
        _refuse(path, "there is no prepared dataset there")
    except (*PARQUET_ERRORS, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        _refuse(path, f"what lies there is not a prepared dataset ({type(error).__name__}: {error})")
    if not samples.schema.equals(SCHEMA):
        _refuse(path, f"{name} has other columns than a prepared dataset")
    if samples.num_rows != num_rows:
        _refuse(path, f"{name} has {samples.num_rows} rows and {CARD_FILE} says {num_rows}")
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


def _refuse(path: str, reason: str) -> NoReturn:
    if path.startswith(PACKAGE_PREFIX):
        remedy = "the dataset inside the package is package:demo"
    elif (name := PurePath(path).name).startswith("eibench_"):
        remedy = (
            f"prepare it with `eibench-ray prepare eibench --source EIBENCH_CLONE --images PICTURES "
            f"--out {path.removesuffix(name).rstrip('/') or '.'}`"
        )
    else:
        remedy = f"prepare it, e.g. with `eibench-ray prepare jsonl FILE --images PICTURES --out {path}`"
    raise DataError(f"the dataset {path} cannot be opened: {reason}; {remedy}")


def _to_samples(table: pa.Table) -> Iterator[Sample]:
    # One document for all rows: a third of the time that one for each takes.
    said = (json.loads(f"[{','.join(table[name].to_pylist())}]") for name in JSON_COLUMNS)
    for sample_id, media, inputs, target, metadata in zip(
        table["sample_id"].to_pylist(), table["media"].to_pylist(), *said, strict=True
    ):
        yield Sample(
            sample_id,
            inputs,
            tuple(Media(**one) for one in media),
            _to_value(target),
            {name: _to_value(value) for name, value in metadata.items()},
        )


def _to_value(value: Any) -> Any:
    return tuple(value) if type(value) is list else value

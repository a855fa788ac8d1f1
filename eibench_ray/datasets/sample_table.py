"""Samples of a range of a dataset as they lie in its file: decoded when, and as far as, they are looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eibench_ray.datasets.layout import JSON_COLUMNS
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Media, MetadataValue, Sample, to_targets
from eibench_ray.scoring.sample_groups import SampleOutlines

PATHS = "media.list.element.path"
_MEDIA = "media"
_MEDIA_COLUMNS = ["media.list.element.kind", PATHS, "media.list.element.digest"]
_ROW_COLUMNS = ["sample_id", *JSON_COLUMNS, _MEDIA]

_T = TypeVar("_T")


class SampleTable:
    """Some samples, without their pictures' bytes; a column is read once, and each look decodes it anew.

    Args:
        path: of the dataset.
        read: reads some of the columns of its samples.

    Raises:
        DataError: on a look, those that are looked at are damaged.
    """

    def __init__(self, path: PurePath, read: Callable[[list[str]], pa.Table]) -> None:
        self._path = path
        self._read = read
        self._known: dict[str, pa.ChunkedArray] = {}

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._rows)

    def __getitem__(self, place: int) -> Sample:
        """One sample."""
        return self._attempt(lambda: next(_to_samples(self._rows.slice(place, 1))))

    def __iter__(self) -> Iterator[Sample]:
        """All of them, decoded together: a third of the time that each alone takes."""
        return iter(self._attempt(lambda: list(_to_samples(self._rows))))

    def map_targets(self, read: Callable[[tuple[str, ...]], _T]) -> list[_T]:
        """The value that follows from the `targets` of each sample; found once for those that are equal."""
        known, codes = self.distinct_targets
        values = [read(targets) for targets in known]
        return [values[code] for code in codes.tolist()]

    @property
    def ids(self) -> pa.StringArray:
        """Their ids."""
        return self._column("sample_id").combine_chunks()

    @property
    def paths(self) -> pa.ListArray:
        """The paths of the pictures of each, in order."""
        lists, pictures = _flatten(self._column(_MEDIA))
        return pa.ListArray.from_arrays(_starts(lists), pictures.field("path"))

    @property
    def inputs(self) -> list[Mapping[str, str]]:
        """The inputs of each."""
        return self._attempt(lambda: list(map(dict, _parse(self._column("inputs")))))

    @property
    def distinct_targets(self) -> tuple[list[tuple[str, ...]], NDArray[np.int32]]:
        """The `targets` of all, equal ones once, and the place of each sample's among them."""
        known, codes = self._distinct("target")
        return [to_targets(_to_value(target)) for target in known], codes

    @property
    def distinct_metadata(self) -> tuple[list[Mapping[str, MetadataValue]], NDArray[np.int32]]:
        """The metadata of all, equal ones once, and the place of each sample's among them."""
        known, codes = self._distinct("metadata")
        return self._attempt(lambda: list(map(_to_values, known))), codes

    @property
    def outlines(self) -> SampleOutlines:
        """Their pictures' names and metadata alone: no texts, no target."""
        self._load(["metadata", _MEDIA])
        return SampleOutlines(_name_pictures(self._column(_MEDIA)), *self.distinct_metadata)

    @cached_property
    def _rows(self) -> pa.Table:
        self._load(_ROW_COLUMNS)
        return pa.table({name: self._known[name] for name in _ROW_COLUMNS})

    def _column(self, name: str) -> pa.ChunkedArray:
        self._load([name])
        return self._known[name]

    def _load(self, names: Sequence[str]) -> None:
        """Reads those of the columns that were not read yet, together."""
        if left := [name for name in names if name not in self._known]:
            table = self._read([column for name in left for column in (_MEDIA_COLUMNS if name == _MEDIA else [name])])
            self._known |= {name: table[name] for name in left}

    def _distinct(self, name: str) -> tuple[list[Any], NDArray[np.int32]]:
        """The values of a column of JSON documents, equal ones once, and the place of each row's among them."""
        found = self._column(name).combine_chunks().dictionary_encode()
        return self._attempt(lambda: _parse(found.dictionary)), found.indices.to_numpy()

    def _attempt(self, decode: Callable[[], _T]) -> _T:
        try:
            return decode()
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{self._path} is damaged ({error}): prepare the dataset again") from error


def spread_lists(known: Iterable[Iterable[str]], codes: NDArray[np.int32]) -> pa.ListArray:
    """A list of texts per code, given those of all codes."""
    return pa.array(map(list, known), pa.list_(pa.string())).take(pa.array(codes))


def _name_pictures(media: pa.ChunkedArray) -> list[str]:
    """The pictures of each sample, as `name_pictures` has them."""
    lists, pictures = _flatten(media)
    if not len(pictures):
        return [""] * len(lists)
    import pyarrow.compute as pc  # 0.03 CPU s of every command

    paths, digests = (pc.fill_null(pictures.field(name), "") for name in ("path", "digest"))
    names = pc.if_else(pc.equal(digests, ""), paths, digests)
    joined: list[str] = pc.binary_join(pa.ListArray.from_arrays(_starts(lists), names), " ").to_pylist()
    return joined


def _flatten(media: pa.ChunkedArray) -> tuple[pa.ListArray, pa.StructArray]:
    """The pictures of each sample, and those of all samples one after the other."""
    lists = media.combine_chunks()
    return lists, lists.flatten()


def _starts(lists: pa.ListArray) -> NDArray[np.int32]:
    """(lists + 1,) The place of each list's first value among those of all; a list that is null has none."""
    return np.cumsum([0, *lists.value_lengths().fill_null(0).to_pylist()]).astype(np.int32)


def _parse(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values of a column of JSON documents, parsed as one."""
    values: list[Any] = json.loads(f"[{','.join(column.to_pylist())}]")
    return values


def _to_samples(table: pa.Table) -> Iterator[Sample]:
    for sample_id, media, inputs, target, metadata in zip(
        table["sample_id"].to_pylist(),
        table["media"].to_pylist(),
        *(_parse(table[name]) for name in JSON_COLUMNS),
        strict=True,
    ):
        yield Sample(
            sample_id,
            inputs,
            tuple([Media(**one) for one in media]) if media else (),
            _to_value(target),
            _to_values(metadata),
        )


def _to_values(found: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if type(value) is list else value for name, value in found.items()}


def _to_value(value: Any) -> Any:
    return tuple(value) if type(value) is list else value

"""Samples of a range of a dataset as they lie in its file: decoded when, and as far as, they are looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from eibench_ray.datasets.layout import JSON_COLUMNS
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Media, MetadataValue, Sample, to_targets
from eibench_ray.scoring.sample_groups import SampleOutlines

PATHS = "media.list.element.path"
_DIGESTS = "media.list.element.digest"
_ROW_COLUMNS = ["sample_id", *JSON_COLUMNS, "media.list.element.kind", PATHS, _DIGESTS]

_T = TypeVar("_T")


class SampleTable:
    """Some samples, without their pictures' bytes; each look decodes anew.

    Args:
        path: of the dataset.
        read: reads some of the columns of its samples.

    Raises:
        DataError: on a look, those that are looked at are damaged.
    """

    def __init__(self, path: PurePath, read: Callable[[list[str]], pa.Table]) -> None:
        self._path = path
        self._read = read

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
        known, codes = self._distinct(self._read(["target"])["target"])
        values = [read(to_targets(_to_value(target))) for target in known]
        return [values[code] for code in codes.tolist()]

    @property
    def outlines(self) -> SampleOutlines:
        """Their pictures' names and metadata alone: no texts, no target."""
        table = self._read(["metadata", PATHS, _DIGESTS])
        known, codes = self._distinct(table["metadata"])
        return SampleOutlines(_name_pictures(table["media"]), list(map(_to_values, known)), codes)

    @property
    def words(self) -> list[tuple[Mapping[str, str], Mapping[str, MetadataValue]]]:
        """All that their inputs and metadata say, in pairs of which one side is empty; equal metadata once."""
        table = self._read(["inputs", "metadata"])
        known, _ = self._distinct(table["metadata"])
        inputs = self._attempt(lambda: list(map(dict, _parse(table["inputs"]))))
        return [*((texts, {}) for texts in inputs), *(({}, _to_values(metadata)) for metadata in known)]

    @cached_property
    def _rows(self) -> pa.Table:
        return self._read(_ROW_COLUMNS)

    def _distinct(self, column: pa.ChunkedArray) -> tuple[list[Any], NDArray[np.int32]]:
        """The values of a column of JSON documents, equal ones once, and the place of each row's among them."""
        found = column.combine_chunks().dictionary_encode()
        return self._attempt(lambda: _parse(found.dictionary)), found.indices.to_numpy()

    def _attempt(self, decode: Callable[[], _T]) -> _T:
        try:
            return decode()
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{self._path} is damaged ({error}): prepare the dataset again") from error


def _name_pictures(media: pa.ChunkedArray) -> list[str]:
    """The pictures of each sample, as `name_pictures` has them."""
    lists = media.combine_chunks()
    pictures = lists.flatten()
    if not len(pictures):
        return [""] * len(lists)
    paths, digests = (pc.fill_null(pictures.field(name), "") for name in ("path", "digest"))
    names = pc.if_else(pc.equal(digests, ""), paths, digests)
    starts = np.cumsum([0, *lists.value_lengths().fill_null(0).to_pylist()])
    joined: list[str] = pc.binary_join(pa.ListArray.from_arrays(starts.astype(np.int32), names), " ").to_pylist()
    return joined


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

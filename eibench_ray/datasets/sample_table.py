"""Samples of a range of a dataset as they lie in its file: decoded when, and as far as, they are looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

import pyarrow as pa

from eibench_ray.datasets.layout import JSON_COLUMNS
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Media, Sample

_T = TypeVar("_T")


class SampleTable:
    """Some samples, without their pictures' bytes; each look decodes anew, and may find that they are damaged.

    Args:
        path: of the dataset.
        table: a row for each of them.

    Raises:
        DataError: those that are looked at are damaged.
    """

    def __init__(self, path: PurePath, table: pa.Table) -> None:
        self._path = path
        self._table = table

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._table)

    def __getitem__(self, place: int) -> Sample:
        """One sample."""
        return self._decode(self._table.slice(place, 1))[0]

    def __iter__(self) -> Iterator[Sample]:
        """All of them, decoded together: a third of the time that each alone takes."""
        return iter(self._decode(self._table))

    @cached_property
    def targets(self) -> list[tuple[str, ...]]:
        """The `targets` of each."""
        return self._attempt(lambda: [Sample("", target=one).targets for one in map(_to_value, self._read("target"))])

    def _decode(self, table: pa.Table) -> list[Sample]:
        return self._attempt(lambda: list(_to_samples(table)))

    def _read(self, column: str) -> list[Any]:
        return _parse(self._table[column])

    def _attempt(self, decode: Callable[[], _T]) -> _T:
        try:
            return decode()
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{self._path} is damaged ({error}): prepare the dataset again") from error


def _parse(column: pa.ChunkedArray) -> list[Any]:
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
            to_values(metadata),
        )


def to_values(found: dict[str, Any]) -> dict[str, Any]:
    """Metadata as a sample has them: lists are tuples."""
    return {name: tuple(value) if type(value) is list else value for name, value in found.items()}


def _to_value(value: Any) -> Any:
    return tuple(value) if type(value) is list else value

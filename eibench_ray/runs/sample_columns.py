"""Samples as columns of a table: a column of its own for each input and each kind of metadata, with its type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from eibench_ray.rows.sample import MetadataValue, Sample

_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class SampleColumns:
    """The columns of some samples: `input_NAME` and `metadata_NAME`, which no other column is called."""

    inputs: tuple[str, ...]  # names, in the order in which they were met
    metadata: Mapping[str, pa.DataType]  # name -> type: one in which every value is what it was, else text

    @property
    def fields(self) -> list[pa.Field]:
        """The columns of a table, in order."""
        return [
            pa.field("images", pa.list_(pa.string())),  # paths, in the sample's order
            *(pa.field(f"input_{name}", pa.string()) for name in self.inputs),
            pa.field("target", pa.list_(pa.string())),
            *(pa.field(f"metadata_{name}", kind) for name, kind in self.metadata.items()),
        ]

    def arrays(self, samples: Sequence[Sample]) -> dict[str, pa.Array]:
        """The values of some samples by column; None where one has none."""
        values: dict[str, list[Any]] = {
            "images": [[media.path for media in sample.media] for sample in samples],
            "target": [list(sample.targets) for sample in samples],
        }
        for name in self.inputs:
            values[f"input_{name}"] = [sample.inputs.get(name) for sample in samples]
        for name, kind in self.metadata.items():
            values[f"metadata_{name}"] = [_cast(sample.metadata.get(name), kind) for sample in samples]
        return {field.name: pa.array(values[field.name], field.type) for field in self.fields}


def find_columns(samples: Iterable[tuple[Mapping[str, str], Mapping[str, MetadataValue]]]) -> SampleColumns:
    """The columns of samples, perhaps of several datasets, passed over once.

    Args:
        samples: inputs and metadata of each.
    """
    inputs: dict[str, None] = {}
    kinds: dict[str, set[type]] = {}
    for texts, metadata in samples:
        for name in texts:
            inputs.setdefault(name)
        for name, value in metadata.items():
            found = kinds.setdefault(name, set())
            if value is not None:
                found.add(str if type(value) is int and not -_INT64 <= value < _INT64 else type(value))
    return SampleColumns(tuple(inputs), {name: _type_of(found) for name, found in kinds.items()})


def _type_of(kinds: set[type]) -> pa.DataType:
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    return pa.list_(pa.string()) if kinds == {tuple} else pa.string()


def _cast(value: MetadataValue, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        return list(value) if pa.types.is_list(kind) else "\n".join(value)
    return str(value) if kind == pa.string() else value

"""Samples as columns of a table: a column of its own for each input and each kind of metadata, with its type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from eibench_ray.datasets.sample_table import SampleTable, spread_lists
from eibench_ray.rows.sample import MetadataValue

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

    def arrays(self, samples: SampleTable) -> dict[str, pa.Array]:
        """The values of some samples by column; None where one has none."""
        texts, (targets, target_codes), (metadata, codes) = (
            samples.inputs,
            samples.distinct_targets,
            samples.distinct_metadata,
        )
        arrays = {"images": samples.paths, "target": spread_lists(targets, target_codes)}
        for name in self.inputs:
            arrays[f"input_{name}"] = pa.array([one.get(name) for one in texts], pa.string())
        for name, kind in self.metadata.items():
            values = pa.array([_cast(one.get(name), kind) for one in metadata], kind)
            arrays[f"metadata_{name}"] = values.take(pa.array(codes))
        return arrays


def find_columns(words: Iterable[tuple[Iterable[str], Iterable[Mapping[str, MetadataValue]]]]) -> SampleColumns:
    """The columns of samples, perhaps of several datasets, passed over once.

    Args:
        words: of some samples at once, the names of their inputs and their metadata, either in the order of samples.
    """
    inputs: dict[str, None] = {}
    kinds: dict[str, set[type]] = {}
    for names, metadata in words:
        inputs |= dict.fromkeys(names)
        for one in metadata:
            for name, value in one.items():
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

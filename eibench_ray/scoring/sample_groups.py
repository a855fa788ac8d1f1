"""Clusters and groups of a dataset's samples: the same for all cells on it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eibench_ray.errors import ConfigError
from eibench_ray.rows.sample import MetadataValue
from eibench_ray.scoring.clusters import Clusters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_GROUPS = 64  # by one column; more are ids, not groups


@dataclass(frozen=True, slots=True)
class SampleGroups:
    """Cluster and groups of each sample.

    Attributes:
        clusters: (samples,) the code of each sample's cluster.
        groups: column -> each of its values, in order -> (samples,) whether a sample has it.
        has_pictures: whether any sample has one.
    """

    clusters: NDArray[np.int32]
    groups: Mapping[str, Mapping[str, NDArray[np.bool_]]]
    has_pictures: bool


@dataclass(frozen=True, slots=True)
class SampleOutlines:
    """The part of some samples that clusters and groups follow from.

    Attributes:
        pictures: of each sample, as `name_pictures` has them.
        metadata: equal ones once.
        codes: (samples,) the place in `metadata` of each sample's.
    """

    pictures: Sequence[str]
    metadata: Sequence[Mapping[str, MetadataValue]]
    codes: NDArray[np.integer[Any]]


def find_groups(outlines: Iterable[SampleOutlines], group_by: Sequence[str] = ()) -> SampleGroups:
    """The clusters and groups of some samples, passed over once; 4 bytes for each sample and column are kept.

    Args:
        outlines: of the samples, in the dataset's order.
        group_by: columns; a sample without a value there is in none of its groups.

    Raises:
        ConfigError: a column has too many values, or lists.
    """
    import numpy as np

    numbering, clusters, has_pictures = Clusters(), array("i"), False
    columns: list[tuple[str, dict[str, int], array[int]]] = [(column, {}, array("i")) for column in group_by]
    for part in outlines:
        clusters.extend(map(numbering.code, part.pictures))
        has_pictures = has_pictures or any(part.pictures)
        for name, codes, of_sample in columns:
            found = [read_column(metadata, name) for metadata in part.metadata]
            known = [-1 if group is None else codes.setdefault(group, len(codes)) for group in found]
            of_sample.frombytes(np.array(known, np.int32)[part.codes].tobytes())
            if len(codes) > MOST_GROUPS:
                raise ConfigError(
                    f"the samples have more than {MOST_GROUPS} values in column {name!r}: group by one with fewer"
                )
    groups = {
        column: {name: np.frombuffer(of_sample, np.int32) == codes[name] for name in order_groups(codes)}
        for column, codes, of_sample in columns
    }
    return SampleGroups(np.frombuffer(clusters, np.int32), groups, has_pictures)


def read_column(metadata: Mapping[str, MetadataValue], column: str) -> str | None:
    """The value of a sample in a column by which it can be grouped, as JSON has it; None where it has none.

    Raises:
        ConfigError: it holds a list.
    """
    value = metadata.get(column)
    if isinstance(value, tuple):
        raise ConfigError(f"column {column!r} holds lists, by which samples cannot be grouped: choose another")
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or value == "" else str(value)


def order_groups(names: Iterable[str]) -> list[str]:
    """The values of a column in order: numbers as numbers, before texts."""

    def key(name: str) -> tuple[bool, float, str]:
        try:
            return False, float(name), name
        except ValueError:
            return True, 0.0, name

    return sorted(names, key=key)

"""Chooses rows of a dataset: those that pass a filter, and of them all, the first, or a sample.

A random sample takes the ids with the smallest hashes, so a sample of 200 holds that of 100, and a dataset that grows
keeps most of it. A stratified one takes from each group in proportion to its size (Webster's method: the same holds).
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from eibench_ray.datasets.dataset import Dataset
from eibench_ray.errors import DataError
from eibench_ray.visible_text import quote, shorten

FilterValue = bool | int | float | str | None
_MOST_SHOWN = 12
_MOST_KEPT = 1000  # values of a column that are remembered for an error


@dataclass(frozen=True, slots=True)
class RowChoice:
    """Which rows of a dataset a sweep asks.

    Attributes:
        seed: of a sample.
        strata: columns by whose values a stratified sample is drawn.
        filter: column -> the values of which a row must have one; a list must hold one of them.
    """

    limit: int | None = None
    sample: Literal["first", "random", "stratified"] = "first"
    seed: int = 0
    strata: tuple[str, ...] = ()
    filter: Mapping[str, tuple[FilterValue, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        """The choice in words; empty where it is the first rows."""
        how = {"first": "", "random": f"random, seed {self.seed}"}
        drawn = how.get(self.sample, f"stratified by {', '.join(self.strata)}, seed {self.seed}")
        passed = [f"{name}: {' or '.join(map(_show, values))}" for name, values in self.filter.items()]
        return "; ".join([*([drawn] if drawn and self.limit is not None else []), *passed])


def choose_rows(dataset: Dataset, choice: RowChoice) -> Sequence[int]:
    """Numbers of the chosen rows, ascending: a range where they are the first.

    Raises:
        DataError: the dataset lacks a column or a value that the choice names, or no row is left.
    """
    is_sample = choice.sample != "first" and choice.limit is not None and choice.limit < dataset.num_rows
    if not (choice.filter or is_sample):
        return range(dataset.num_rows if choice.limit is None else min(choice.limit, dataset.num_rows))
    strata = choice.strata if is_sample and choice.sample == "stratified" else ()
    if missing := [name for name in (*choice.filter, *strata) if name not in dataset.metadata]:
        raise DataError(
            f"the dataset {dataset.path} has no column {', '.join(map(repr, missing))} to choose its samples by; its "
            f"columns are {', '.join(dataset.metadata) or 'none'}: correct dataset.filter or dataset.stratify_by"
        )
    passed = _Filter(dataset, choice.filter)
    rows, hashes, groups = array("I"), array("Q"), array("I")
    group_of: dict[str, int] = {}
    for row, (sample_id, metadata) in enumerate(dataset.read_metadata()):
        if not passed.has(metadata):
            continue
        rows.append(row)
        if is_sample:
            hashes.append(rank(choice.seed, sample_id))
            group = json.dumps([metadata.get(name) for name in strata])
            groups.append(group_of.setdefault(group, len(group_of)))
    passed.check(len(rows))
    if choice.limit is None or choice.limit >= len(rows):
        return rows
    if not is_sample:
        return rows[: choice.limit]
    taken = _order(np.frombuffer(hashes, np.uint64), np.frombuffer(groups, np.uint32))[: choice.limit]
    return array("I", np.sort(np.frombuffer(rows, np.uint32)[taken]).tobytes())


def rank(seed: int, sample_id: str) -> int:
    """Place of a sample among those that are drawn by chance, whatever else its dataset holds."""
    said = hashlib.blake2b(f"{seed}:{sample_id}".encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(said.digest(), "big")


def _order(hashes: Any, groups: Any) -> Any:
    """The order in which rows are taken: by their hash, each group in proportion to its size."""
    sizes = np.bincount(groups)
    by_group = np.lexsort((hashes, groups))
    ranks = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    quotients = (ranks + 0.5) / np.repeat(sizes, sizes)
    return by_group[np.lexsort((hashes[by_group], quotients))]


class _Filter:
    """Values that rows must have, and which of them the dataset has."""

    def __init__(self, dataset: Dataset, wanted: Mapping[str, Sequence[FilterValue]]) -> None:
        self._dataset = dataset
        self._wanted = {name: {_key(value) for value in values} for name, values in wanted.items()}
        self._unmet = {name: {_key(value): value for value in values} for name, values in wanted.items()}
        self._known: dict[str, Counter[Any]] = {name: Counter() for name in wanted}

    def has(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a row passes."""
        passes = True
        for name, wanted in self._wanted.items():
            value = metadata.get(name)
            keys = [_key(one) for one in (value if isinstance(value, list) else [value])]
            known = self._known[name]
            for key in keys:
                self._unmet[name].pop(key, None)
                if key in known or len(known) < _MOST_KEPT:
                    known[key] += 1
            passes = passes and not wanted.isdisjoint(keys)
        return passes

    def check(self, num_passed: int) -> None:
        """Makes sure that the dataset has each value that is named, and that rows passed."""
        for name, unmet in self._unmet.items():
            if unmet:
                counts = self._known[name].most_common(_MOST_SHOWN)
                more = ", ..." if len(self._known[name]) > _MOST_SHOWN else ""
                there = ", ".join(f"{_show(value)} ({count:,})" for (_, value), count in counts)
                raise DataError(
                    f"no sample of the dataset {self._dataset.path} has {' or '.join(map(_show, unmet.values()))} as "
                    f"{name!r}, which dataset.filter asks for; there are {there}{more}"
                )
        if self._wanted and not num_passed:
            raise DataError(
                f"no sample of the dataset {self._dataset.path} passes the whole of dataset.filter "
                f"({', '.join(self._wanted)}), though each of its values is there: leave one of its columns out"
            )


def _key(value: Any) -> tuple[bool, Any]:
    """A value as it is compared: to Python, true is 1."""
    return isinstance(value, bool), value


def _show(value: FilterValue) -> str:
    return shorten(quote(value)) if isinstance(value, str) else json.dumps(value)

"""Digest of all that a cell's scores are made from: its rows, its samples, its scorer, and the code that reads them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from eibench_ray.datasets.dataset import Dataset
from eibench_ray.plan.graph import Cell, DatasetSpec, Plan
from eibench_ray.plan.slices import cut
from eibench_ray.rows.digests import digest
from eibench_ray.runs.score_reader import JudgeReader, JuryReader, Reader
from eibench_ray.scoring.scorer import Scorer
from eibench_ray.store.slice_store import Store
from eibench_ray.store.slice_summary import digest_arrays
from eibench_ray.versions import __version__

# To be raised with any change, outside of the folders below, of how rows become columns and counts.
LAYOUT = 1
DIGESTED_ROWS = 4096  # that are read at once
_PACKAGE = Path(__file__).parent.parent
_FOLDERS = ("rows", "scoring")


class ScoreSources:
    """Digests of what scores of one plan are made from, as the store is now.

    Args:
        plan: the sweep.
        store: its rows.
        samples: dataset -> digest of the samples that the plan asks.
    """

    def __init__(self, plan: Plan, store: Store, samples: Mapping[str, str]) -> None:
        self._plan = plan
        self._store = store
        self._samples = samples
        self._stamps: dict[str, str] = {}

    def of(self, cell: Cell, reader: Reader) -> str | None:
        """The digest of one cell; None where nobody knows which code makes its scores."""
        if (code := reader_code(reader)) is None:
            return None
        spec = self._plan.datasets[cell.dataset]
        judged = [asdict(cell.scorer), list(map(asdict, cell.jurors)), cell.is_unparsed_wrong, cell.seats]
        compared = cell.baseline.answers if cell.baseline else ()
        stamps = {step: self._stamp(step, spec) for step in cell.steps}
        return digest(
            [LAYOUT, code, judged, cell.answers, cell.verdicts, compared, self._samples[cell.dataset], stamps]
        )

    def _stamp(self, step: str, spec: DatasetSpec) -> str:
        if step not in self._stamps:
            size = self._store.slice_rows(step)
            indexes = [slice_.index for slice_ in cut(step, spec.rows, size)] if size else []
            self._stamps[step] = self._store.stamp_slices(step, indexes)
        return self._stamps[step]


def digest_samples(dataset: Dataset, spec: DatasetSpec) -> str:
    """Digest of the samples that a plan asks: all of their texts, their pictures, their order."""
    index, parts = dataset.index(), cut("", spec.rows, DIGESTED_ROWS)
    return digest_arrays(map(index.digest_array, parts))


def reader_code(reader: Reader) -> str | None:
    """Digest of the code that makes scores; None where it cannot be told."""
    if isinstance(reader, JuryReader):
        scorers: list[Scorer] = [reader.jury.scorer, *(member.scorer for member in reader.members.values())]
    elif isinstance(reader, JudgeReader):
        scorers = [reader.scorer]
    else:
        return None
    found = [_digest_class(type(scorer)) for scorer in scorers]
    return (
        None
        if None in found
        else digest([__version__, *(_digest_folder(_PACKAGE / name) for name in _FOLDERS), *found])
    )


@lru_cache
def _digest_class(kind: type[Scorer]) -> str | None:
    """Digest of the files of a scorer and of what it derives from: a user's own file, or its package's folder."""
    digests = []
    for one in kind.__mro__[: kind.__mro__.index(Scorer)]:
        if file_digest := vars(one).get("file_digest"):
            digests.append(file_digest)
            continue
        file = getattr(sys.modules.get(one.__module__), "__file__", None)
        if file is None or not file.endswith(".py"):
            return None
        is_alone = "." not in one.__module__  # a module beside those of others
        digests.append(_digest_files([Path(file)]) if is_alone else _digest_folder(Path(file).parent))
    return digest(digests)


@lru_cache
def _digest_folder(folder: Path) -> str:
    return _digest_files(sorted(folder.rglob("*.py")))


def _digest_files(files: list[Path]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for file in files:
        content = file.read_bytes()
        found.update(f"{file.name} {len(content)} ".encode())
        found.update(content)
    return found.hexdigest()

"""Folders of Hive's layout for the cells of a run: `model=echo/setting=user_question/...`, one for each name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eibench_ray.plan.graph import Cell
from eibench_ray.storage.path_names import path_names

KEYS = ("model", "setting", "dataset", "judge")


def names_of(cell: Cell) -> tuple[str, ...]:
    """A cell's names, in the order of `KEYS`."""
    return cell.model, cell.setting, cell.dataset, cell.judge


class CellFolders:
    """The folders of some cells; names that no file may have are replaced, and stay apart."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        columns = zip(*map(names_of, cells), strict=True)
        self._names = {key: path_names((name,) for name in names) for key, names in zip(KEYS, columns, strict=True)}

    def of(self, root: Path, cell: Cell, *keys: str) -> Path:
        """The folder of a cell below the root, by some of its names."""
        return root.joinpath(*(f"{key}={self._names[key][(getattr(cell, key),)]}" for key in keys))

"""A run's own folder: taken in one step of the file system, so that no two runs share one and none is overwritten.

A folder belongs to the run whose `run.json` lies in it, and that file is made only where there is none, which local and
network file systems decide for one of several at the same time. Whoever finds the folder taken goes on to the next
name: `paper`, `paper-2`, `paper-3`. Nothing is made before a run is sure to begin, and what a run that was refused all
the same has made is removed again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from eibench_ray.storage.atomic_files import PARTIAL_SUFFIX, cannot_write

RUN_FILE = "run.json"
LEDGER_FILE = "ledger.jsonl"
# What a run leaves behind; a folder with one of them is taken, also where somebody has removed its run.json.
RECORDS = (RUN_FILE, LEDGER_FILE, "leaderboard.md", "leaderboard.csv", "leaderboard.parquet")
# What else a run writes at its beginning.
_BEGINNING = (RUN_FILE, LEDGER_FILE, "run.log", "logs", "multirun.yaml")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that one run has for itself."""

    path: Path
    is_other: bool  # whether it is not the one that was wanted, which another run has
    made: tuple[Path, ...]  # the folders that were made for it, the innermost first
    before: frozenset[str] = frozenset()  # names of what was in it already

    def withdraw(self, *hydra: str) -> None:
        """Removes what the run has made, where it was refused after all; what was there before it stays."""
        if self.path in self.made:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            for name in {*_BEGINNING, *hydra} - self.before:
                shutil.rmtree(self.path / name, ignore_errors=True)
                with contextlib.suppress(OSError):
                    (self.path / name).unlink()
        for folder in self.made:
            with contextlib.suppress(OSError):  # it is gone, or others have put something into it
                folder.rmdir()


def take_folder(wanted: Path, first: bytes) -> RunFolder:
    """The folder that was wanted, or the next one of that name that no run has.

    Raises:
        StoreError: it cannot be made or written.
    """
    for number in count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        made: list[Path] = []
        try:
            made += _make(folder)
            before = frozenset(path.name for path in folder.iterdir())
            if not any((folder / name).exists() for name in RECORDS) and _create(folder / RUN_FILE, first):
                return RunFolder(folder, number > 1, tuple(made), before)
        except OSError as error:
            RunFolder(folder, number > 1, tuple(made)).withdraw()
            raise cannot_write(folder, error) from error
    raise AssertionError("unreachable")


def _make(folder: Path) -> Iterator[Path]:
    """Makes a folder and those above it; those that were not there, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)  # another run may make it at the same moment
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file")
    return iter(missing)


def _create(path: Path, content: bytes) -> bool:
    """Whether a file was made, with its content, where there was none."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return draft.stat().st_nlink == 2  # over NFS, the answer to a link that was made may be lost
        except OSError:  # a file system without hard links: the name comes first, then the content
            return _create_by_name(path, content)
        return True
    finally:
        draft.unlink(missing_ok=True)


def _create_by_name(path: Path, content: bytes) -> bool:
    try:
        file = path.open("xb")
    except FileExistsError:
        return False
    with file:
        file.write(content)
    return True

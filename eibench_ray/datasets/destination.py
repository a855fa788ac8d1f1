"""Destination of a dataset: a folder or a prefix in a bucket, where it appears whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path, PurePath

from eibench_ray.datasets.layout import CARD_FILE, PROTOCOL_FILE, SAMPLES_FILE, is_samples_name, name_of_samples
from eibench_ray.errors import DataError
from eibench_ray.storage.interface import Storage
from eibench_ray.storage.local import open_storage
from eibench_ray.visible_text import list_some


class Destination(ABC):
    """Takes a folder of this machine as a dataset; one that is there is replaced."""

    path: str  # as a user calls it
    name: str  # the dataset's
    partial: Path  # the folder on this machine in which the files are written first
    samples_file: str  # what the rows' file is called

    @abstractmethod
    def begin(self) -> None:
        """Makes `partial`.

        Raises:
            DataError: something lies there that is no dataset, or nothing can be written.
            StoreError: the bucket cannot be written.
        """

    @abstractmethod
    def publish(self) -> None:
        """Puts what lies in `partial` into its place."""

    def end(self) -> None:
        """Removes `partial`, whether it was published or not."""
        shutil.rmtree(self.partial, ignore_errors=True)


class _Folder(Destination):
    """Written beside its final name and renamed."""

    samples_file = SAMPLES_FILE

    def __init__(self, out: Path) -> None:
        self.path, self.name = str(out.absolute()), out.absolute().name
        self._out = out.resolve()  # where a link leads to: what lies there is replaced, not the link
        self.partial = self._out.with_name(f".{self.name}.{os.getpid()}.partial")

    def begin(self) -> None:
        if self._out.exists():
            if not self._out.is_dir():
                raise _occupied(self.path)
            _require_dataset(self.path, {file.name for file in self._out.iterdir()}, self._read_card())
        try:
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(parents=True)
        except OSError as error:
            raise DataError(f"the dataset cannot be written to {self.path} ({error}): choose another --out") from error

    def _read_card(self) -> bytes | None:
        card = self._out / CARD_FILE
        return card.read_bytes() if card.is_file() else None

    def publish(self) -> None:
        retired = self.partial.with_suffix(".retired")
        if self._out.exists():
            self._out.rename(retired)
        self.partial.rename(self._out)
        shutil.rmtree(retired, ignore_errors=True)


class _Bucket(Destination):
    """Written in a temporary folder and uploaded, the card last: it names the rows' file.

    That file has a name of its own each time, so that who has opened the dataset reads the rows that it has opened, or
    learns that they are gone; never a mixture.
    """

    def __init__(self, out: str) -> None:
        self._storage: Storage
        self._folder: PurePath
        self._storage, self._folder = open_storage(out, "--out")
        self.path, self.name = out, self._folder.name
        self.samples_file = f"samples-{secrets.token_hex(4)}.parquet"

    def begin(self) -> None:
        found = {entry.name for entry in self._storage.list(self._folder)}
        # Nothing but the rows' file of the dataset is ever removed here, so other objects may lie beside it.
        _require_dataset(self.path, found, self._read_card(), may_hold_others=True)
        self._storage.check_writable(self._folder)
        self.partial = Path(tempfile.mkdtemp(prefix="eibench-dataset-"))

    def _read_card(self) -> bytes | None:
        return self._storage.read(self._folder / CARD_FILE)

    def publish(self) -> None:
        old = self._read_card()
        self._storage.upload(self.partial / self.samples_file, self._folder / self.samples_file)
        protocol = self.partial / PROTOCOL_FILE
        if protocol.exists():
            self._storage.upload(protocol, self._folder / PROTOCOL_FILE)
        else:
            self._storage.remove(self._folder / PROTOCOL_FILE)
        self._storage.upload(self.partial / CARD_FILE, self._folder / CARD_FILE)
        if old is not None:
            # Nothing else than a file that a writer made; what was no card had none.
            with contextlib.suppress(ValueError, AttributeError, RecursionError):
                self._storage.remove(self._folder / name_of_samples(json.loads(old)))


def open_destination(out: str | Path) -> Destination:
    """The destination that `--out` names.

    Raises:
        StoreError: the URI cannot be used.
    """
    return _Bucket(str(out)) if "://" in str(out) else _Folder(Path(out))


def _require_dataset(path: str, found: set[str], card: bytes | None, *, may_hold_others: bool = False) -> None:
    """Nothing, if what lies there is nothing or a prepared dataset (a damaged one, too), which may be replaced.

    Raises:
        DataError: something else lies there, or lies there too.
    """
    found = found - {""}  # a bucket's mark of a folder
    if not found:
        return
    if card is None or not (any(map(is_samples_name, found)) or _is_card(card)):
        raise _occupied(path)
    others = sorted(name for name in found - {CARD_FILE, PROTOCOL_FILE} if not is_samples_name(name))
    if others and not may_hold_others:
        raise DataError(
            f"{path} is a prepared dataset with other files beside it ({list_some(others, 5)}), which would be "
            f"lost with it: move them away, or choose another --out"
        )


def _is_card(content: bytes) -> bool:
    try:
        card = json.loads(content)
        return "rows" in card and ("layout" in card or "without_captions" in card)
    except (ValueError, TypeError, RecursionError):
        return False


def _occupied(path: str) -> DataError:
    return DataError(f"{path} exists and is not a prepared dataset: choose another --out, or move it away")

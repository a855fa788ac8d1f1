"""The few operations that a store asks of a folder or a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

import pyarrow as pa

from eibench_ray.errors import StoreError
from eibench_ray.storage.atomic_files import dump_json, parse_json
from eibench_ray.storage.late_pandas import put_off_pandas

put_off_pandas()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """Entry of a folder."""

    name: str
    is_folder: bool


class Storage(ABC):
    """A file system or a bucket. What fails there is a StoreError that names the file and what to do."""

    num_threads: int  # at most so many reads go on at the same time
    reads_per_thread: int  # with fewer, a thread does not pay
    is_remote: bool  # whether each read is a request, so that neighbouring ones should be one

    @abstractmethod
    def name(self, path: PurePath) -> str:
        """A path as a user names it."""

    @abstractmethod
    def read(self, path: PurePath, last: int | None = None) -> bytes | None:
        """A file's content, or as many bytes of its end; None where there is none."""

    @abstractmethod
    def open(self, path: PurePath) -> pa.NativeFile | None:
        """A file, to be read in parts by `attempt`; None where there is none."""

    @abstractmethod
    def attempt(self, path: PurePath, read: Callable[[], T]) -> T:
        """Result of reading from an open file.

        Raises:
            StoreError: it cannot be read; what is wrong with its content is `read`'s own to say.
        """

    @abstractmethod
    def upload(self, file: Path, path: PurePath) -> None:
        """Copies a file of this machine, of any size, to a path: whole or not at all."""

    @abstractmethod
    def write(self, path: PurePath, content: bytes) -> None:
        """Writes a file, whole or not at all; one that is there is replaced."""

    @abstractmethod
    def list(self, folder: PurePath) -> Sequence[Entry]:
        """Entries of a folder, by name; nothing where there is none."""

    @abstractmethod
    def sizes(self, folder: PurePath) -> Mapping[str, int]:
        """Bytes of each file of a folder, by name; nothing where there is none."""

    @abstractmethod
    def stamp(self, path: PurePath) -> Hashable:
        """Value that changes whenever a file is written; None where there is none."""

    @abstractmethod
    def stamps(self, folder: PurePath) -> Mapping[str, Hashable]:
        """Stamps of all files of a folder, by name; nothing where there is none."""

    def is_link(self, path: PurePath) -> bool:  # noqa: ARG002 - a bucket has none
        """Whether a name leads to another place."""
        return False

    @abstractmethod
    def remove(self, path: PurePath) -> None:
        """Removes a file, if there is one."""

    @abstractmethod
    def remove_folder(self, folder: PurePath) -> None:
        """Removes a folder that is empty; another one stays."""

    @abstractmethod
    def move(self, path: PurePath, target: PurePath) -> None:
        """Gives a file another path."""

    def write_stamped(self, path: PurePath, content: bytes) -> Hashable:
        """Writes a file; its stamp."""
        self.write(path, content)
        return self.stamp(path)

    def read_json(self, path: PurePath) -> Any:
        """The value in a JSON file.

        Raises:
            StoreError: it is not there, or is not JSON.
        """
        if (content := self.read(path)) is None:
            raise StoreError(f"{self.name(path)} cannot be read (No such file or directory): check the path")
        return parse_json(content, self.name(path))

    def write_json(self, path: PurePath, value: Any) -> None:
        """Writes a JSON file, whole or not at all."""
        self.write(path, dump_json(value))

    def check_writable(self, folder: PurePath) -> None:
        """Raises StoreError unless files can be made in the folder."""
        probe = folder / ".writable"
        self.write(probe, b"")
        self.remove(probe)

"""Where files of stores and datasets lie, behind a few operations. Writes are whole or not there."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar

import pyarrow as pa

from eibench_ray.config.location import read_location
from eibench_ray.errors import StoreError
from eibench_ray.store.files import dump_json, parse_json, replacing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies directly in a folder."""

    name: str
    is_folder: bool


class Storage(ABC):
    """A file system or a bucket. What fails there is a StoreError that names the file and what to do.

    Attributes:
        num_threads: at most so many reads go on at the same time.
        reads_per_thread: with fewer, a thread does not pay.
        is_remote: whether each read is a request, so that neighbouring ones should be one.
    """

    num_threads: int
    reads_per_thread: int
    is_remote: bool

    @abstractmethod
    def name(self, path: PurePath) -> str:
        """How a user calls a path."""

    @abstractmethod
    def read(self, path: PurePath, last: int | None = None) -> bytes | None:
        """A file's content, or as many bytes of its end; None where there is none."""

    @abstractmethod
    def open(self, path: PurePath) -> pa.NativeFile | None:
        """A file, to be read in parts by `attempt`; None where there is none."""

    @abstractmethod
    def attempt(self, path: PurePath, read: Callable[[], T]) -> T:
        """What reading from an open file comes to.

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
        """What lies in a folder, by name; nothing where there is none."""

    @abstractmethod
    def stamp(self, path: PurePath) -> Hashable:
        """What changes whenever a file is written; None where there is none."""

    def is_link(self, path: PurePath) -> bool:  # noqa: ARG002 - a bucket has none
        """Whether a name leads to another place."""
        return False

    @abstractmethod
    def remove(self, path: PurePath) -> None:
        """Removes a file, if there is one."""

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


class LocalStorage(Storage):
    """Folders that every node sees: a disk, or a network file system."""

    num_threads = 4
    reads_per_thread = 16
    is_remote = False

    def name(self, path: PurePath) -> str:
        """The path itself."""
        return str(path)

    def read(self, path: PurePath, last: int | None = None) -> bytes | None:
        """A file's content, or as many bytes of its end; None where there is none."""
        try:
            with Path(path).open("rb") as file:
                if last is not None:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - last))
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path, error) from None

    def open(self, path: PurePath) -> pa.NativeFile | None:
        """The open file, which stays what it is when another one takes its name; None where there is none."""
        try:
            return pa.OSFile(str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from None

    def attempt(self, path: PurePath, read: Callable[[], T]) -> T:
        """What one attempt comes to."""
        try:
            return read()
        except OSError as error:
            raise _unreadable(path, error) from error

    def upload(self, file: Path, path: PurePath) -> None:
        """Copies beside the path, syncs, and renames."""
        with replacing(Path(path)) as temporary:
            shutil.copyfile(file, temporary)

    def write(self, path: PurePath, content: bytes) -> None:
        """Writes beside the path, syncs, and renames."""
        self.write_stamped(path, content)

    def write_stamped(self, path: PurePath, content: bytes) -> Hashable:
        """The stamp of the very file that it has written, whoever writes another one next."""
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content)
            return self.stamp(temporary)

    def list(self, folder: PurePath) -> Sequence[Entry]:
        """What lies in a folder, by name; nothing where there is none."""
        try:
            with os.scandir(folder) as found:
                return sorted((Entry(entry.name, entry.is_dir()) for entry in found), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(f"{folder} cannot be listed ({error.strerror}): check its permissions") from None

    def stamp(self, path: PurePath) -> Hashable:
        """Every write makes another inode; None where there is no file."""
        try:
            status = Path(path).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def is_link(self, path: PurePath) -> bool:
        """Whether it is a symbolic link."""
        return Path(path).is_symlink()

    def remove(self, path: PurePath) -> None:
        """Removes a file, if there is one."""
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be removed ({error.strerror}): check the folder's permissions") from None

    def move(self, path: PurePath, target: PurePath) -> None:
        """Renames a file; the target's folder is made."""
        try:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(path).replace(target)
        except OSError as error:
            raise StoreError(f"{path} cannot be moved to {target} ({error.strerror}): check the permissions") from None


def _unreadable(path: PurePath, error: OSError) -> StoreError:
    reason = " ".join((error.strerror or str(error)).split())
    return StoreError(f"{path} cannot be read ({reason}): check the path and its permissions")


LOCAL = LocalStorage()


def open_storage(root: str, what: str = "the store's root") -> tuple[Storage, PurePath]:
    """The storage in which a store or a dataset lies, and the path of its root there.

    Args:
        root: a folder, or a URI as `store.root` takes it.
        what: what a message calls it.

    Raises:
        StoreError: it is none of both, or the bucket's service cannot be reached.
    """
    try:
        location = read_location(root)
    except ValueError as error:
        raise StoreError(f"{what} {error}") from None
    if location.scheme == "file":
        return LOCAL, Path(location.path)
    from eibench_ray.store.bucket import open_bucket

    return open_bucket(location), PurePosixPath(location.path)

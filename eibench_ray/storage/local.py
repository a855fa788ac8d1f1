"""Folder that holds stores and datasets, behind a few operations. Writes are whole or not there."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath

import pyarrow as pa

from eibench_ray.errors import StoreError
from eibench_ray.storage.atomic_files import replacing
from eibench_ray.storage.interface import Entry, Storage, T
from eibench_ray.storage.location import read_location


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
            with io.FileIO(path) as file:  # without a buffer, which a whole read needs not: 13 us instead of 32
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
        """Result of one attempt."""
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
        """Entries of a folder, by name; nothing where there is none."""
        try:
            with os.scandir(folder) as found:
                return sorted((Entry(entry.name, entry.is_dir()) for entry in found), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(f"{folder} cannot be listed ({error.strerror}): check its permissions") from None

    def sizes(self, folder: PurePath) -> Mapping[str, int]:
        """Bytes of each file of a folder, by name; nothing where there is none."""
        sizes = {}
        for entry in self.list(folder):
            if not entry.is_folder:
                with contextlib.suppress(FileNotFoundError):  # it was replaced or removed meanwhile
                    sizes[entry.name] = Path(folder, entry.name).lstat().st_size
        return sizes

    def stamp(self, path: PurePath) -> Hashable:
        """Every write makes another inode; None where there is no file."""
        try:
            return _stamp(Path(path).stat())
        except OSError:
            return None

    def stamps(self, folder: PurePath) -> Mapping[str, Hashable]:
        """Stamps of all files of a folder, by name; nothing where there is none."""
        found = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # it was replaced or removed meanwhile
                    found[entry.name] = _stamp(entry.stat())
        return found

    def is_link(self, path: PurePath) -> bool:
        """Whether it is a symbolic link."""
        return Path(path).is_symlink()

    def remove(self, path: PurePath) -> None:
        """Removes a file, if there is one."""
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be removed ({error.strerror}): check the folder's permissions") from None

    def remove_folder(self, folder: PurePath) -> None:
        """Removes a folder that is empty; another one stays."""
        with contextlib.suppress(OSError):
            Path(folder).rmdir()

    def move(self, path: PurePath, target: PurePath) -> None:
        """Renames a file; the target's folder is made."""
        try:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(path).replace(target)
        except OSError as error:
            raise StoreError(f"{path} cannot be moved to {target} ({error.strerror}): check the permissions") from None


def _stamp(status: os.stat_result) -> Hashable:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _unreadable(path: PurePath, error: OSError) -> StoreError:
    reason = " ".join((error.strerror or str(error)).split())
    return StoreError(f"{path} cannot be read ({reason}): check the path and its permissions")


LOCAL = LocalStorage()


def open_storage(root: str, what: str = "the store's root") -> tuple[Storage, PurePath]:
    """The storage in which a store or a dataset lies, and the path of its root there.

    Raises:
        StoreError: it is none of both, or the bucket's service cannot be reached.
    """
    try:
        location = read_location(root)
    except ValueError as error:
        raise StoreError(f"{what} {error}") from None
    if location.scheme == "file":
        return LOCAL, Path(location.path)
    from eibench_ray.storage.bucket import open_bucket

    return open_bucket(location), PurePosixPath(location.path)

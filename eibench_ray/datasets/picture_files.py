"""Looks up a picture's path from an annotation under the folders that the user names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from eibench_ray.errors import DataError

# 120 megapixels without any compression have 360 MB, and no engine takes more.
MOST_FILE_BYTES = 384 << 20


class EscapedPathError(ValueError):
    """A picture's path that leads out of the picture folders."""


class PictureFolders:
    """The folders under which pictures are looked up."""

    def __init__(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise DataError(f"--images {folder} is not a folder: pass the folder that holds the pictures")
        self._roots = [folder.resolve() for folder in folders]
        # A link's own name counts too: EmoSet-118k may be a link to a folder of another name.
        self._names = [folder.absolute().name for folder in folders]

    def find(self, path: str) -> Path | None:
        """The file of a picture, or None where no folder has it.

        A path is tried as written, then without its first folder (the user named the dataset's own folder, whatever
        it is called there), then without further ones as long as the last that is cut off is the folder's name: so
        `CAER-S/train/Angry/1.png` is found under `.../CAER-S/train`, and never taken from `.../CAER-S/test`.

        Raises:
            EscapedPathError: the path is absolute, climbs with `..`, or leads out of its folder by a link.
        """
        parts = split_path(path)
        is_escaped = False
        for root, name in zip(self._roots, self._names, strict=True):
            for tail in _tails(parts, name):
                with contextlib.suppress(OSError, UnicodeEncodeError):  # no file can have such a name
                    file = root.joinpath(*tail).resolve()
                    if not file.is_relative_to(root):
                        is_escaped = True
                    elif file.is_file():
                        return file
        if is_escaped:
            raise EscapedPathError(path)
        return None

    def relative(self, path: str) -> str:
        """A path without the picture folder that it begins with; other paths as they are."""
        for root in self._roots:
            if Path(path).is_relative_to(root):
                return Path(path).relative_to(root).as_posix()
        return path


def read_picture(file: Path) -> bytes:
    """A picture's bytes.

    Raises:
        DataError: the file cannot be read, or is far too large for a picture.
    """
    try:
        if (num_bytes := file.stat().st_size) > MOST_FILE_BYTES:
            raise DataError(
                f"the picture {file} has {num_bytes:,} bytes, more than {MOST_FILE_BYTES >> 20} MiB: make it smaller; "
                f"nothing was written"
            )
        return file.read_bytes()
    except OSError as error:
        raise DataError(
            f"the picture {file} cannot be read ({error}): check its permissions; nothing was written"
        ) from error


def split_path(path: str) -> tuple[str, ...]:
    """The parts of a relative path.

    Raises:
        EscapedPathError: it is absolute, empty, or climbs with `..`.
    """
    pure = PurePosixPath(path)
    if not path or "\0" in path or "\\" in path or pure.is_absolute() or ".." in pure.parts:
        raise EscapedPathError(path)
    return pure.parts


def _tails(parts: tuple[str, ...], folder_name: str) -> Iterator[tuple[str, ...]]:
    yield parts
    for cut in range(1, len(parts)):
        if cut == 1 or parts[cut - 1] == folder_name:
            yield parts[cut:]

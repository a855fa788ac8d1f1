"""Files of a table: which there are, what they hold by their first bytes, and their content without compression."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Collection
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from eibench_ray.errors import DataError

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"(\xb5/\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
# What is no table, or one for another command: how it begins, what it is, what to do.
_OTHERS = {
    b"PAR1": ("a Parquet file", "use `eibench-ray prepare parquet`"),
    b"ARROW1": ("an Arrow file", "use `eibench-ray prepare hf` for a folder that save_to_disk wrote, or write Parquet"),
    b"PK\x03\x04": ("a ZIP archive (or an Excel file)", "unpack it, or export it to JSONL, CSV or Parquet"),
    b"\x93NUMPY": ("a NumPy file", "write its rows to JSONL or Parquet"),
    b"SQLite format 3": ("an SQLite database", "export the table to JSONL, CSV or Parquet"),
    b"\x89HDF": ("an HDF5 file", "write its rows to JSONL or Parquet"),
    b"\x80\x04": ("a pickled object", "write its rows to JSONL or Parquet"),
    b"\x80\x05": ("a pickled object", "write its rows to JSONL or Parquet"),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
    b"<!DOCTYPE": ("a web page", "download the file itself"),
    b"<html": ("a web page", "download the file itself"),
}
_TAR_MARK = (257, b"ustar")


def list_files(place: Path, suffixes: Collection[str]) -> list[Path]:
    """The file, or the files of a folder whose names end so, sorted by name; those of its subfolders where it has none.

    Raises:
        DataError: nothing is there.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(f"{place} is not a file: pass the table to prepare")
    for found in (place.iterdir(), place.rglob("*")):
        files = sorted(file for file in found if _is_shard(file.relative_to(place), suffixes) and file.is_file())
        if files:
            return files
    raise DataError(
        f"the folder {place} holds no file that ends with {' or '.join(suffixes)}: pass the table to prepare"
    )


def _is_shard(path: Path, suffixes: Collection[str]) -> bool:
    """Whether a file is part of the table; hidden ones, and notes of the program that wrote it, are not."""
    return path.name.endswith(tuple(suffixes)) and not any(part.startswith((".", "_")) for part in path.parts)


def open_plain(file: Path) -> IO[bytes]:
    """The file's content; what is compressed by gzip, zstd, bzip2 or xz is unpacked as it is read."""
    with file.open("rb") as opened:
        start = opened.read(8)
    kind = next((name for mark, name in _COMPRESSIONS.items() if start.startswith(mark)), None)
    match kind:
        case "gzip":
            return cast(IO[bytes], gzip.open(file))
        case "bzip2":
            return cast(IO[bytes], bz2.open(file))
        case "xz":
            return cast(IO[bytes], lzma.open(file))
        case "zstd":
            return cast(IO[bytes], pa.CompressedInputStream(str(file), "zstd"))
    return file.open("rb")


def refuse_others(file: Path, start: bytes) -> None:
    """Nothing, unless the file's first bytes are those of another kind of file.

    Raises:
        DataError: what it is, and what to do.
    """
    for mark, (name, remedy) in _OTHERS.items():
        if start.lower().startswith(mark.lower()):
            raise DataError(f"{file} is {name}: {remedy}")
    offset, mark = _TAR_MARK
    if start[offset:].startswith(mark):
        raise DataError(f"{file} is a tar archive: unpack it, and pass the table in it")

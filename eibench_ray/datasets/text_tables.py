"""Tables in text: JSONL, a JSON array, an object of columns, CSV; in UTF-8, UTF-16 or UTF-32, compressed or not."""

from __future__ import annotations

import codecs
import csv
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from eibench_ray.datasets.source_tables import Row, Table
from eibench_ray.datasets.table_files import list_files, open_plain, refuse_others
from eibench_ray.errors import DataError
from eibench_ray.visible_text import quote

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
# A row with a picture in base64 has some megabytes; a file of kilobytes may unpack to a line of gigabytes.
MOST_LINE_BYTES = 128 << 20
# What is no table of lines is held in memory as a whole.
MOST_WHOLE_BYTES = 256 << 20
_BOMS = {  # UTF-32's begins like UTF-16's
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# The names under which files of one object hold their rows.
_AROUND = frozenset({"data", "rows", "samples", "examples", "records", "items", "train", "validation", "test"})
# What unpacking a damaged or truncated file raises.
_UNPACK_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)


def read_jsonl(place: Path) -> Table:
    """The rows of a text file, or of all such files in a folder.

    Raises:
        DataError: there is none, or it is something else.
    """
    files = list_files(place, (*SUFFIXES, *(suffix + packed for suffix in SUFFIXES for packed in _COMPRESSED)))
    for file in files:
        with _reading(file), open_plain(file) as opened:
            refuse_others(file, opened.read(512))
    return Table(place.name, (found for file in files for found in _read_file(file)))


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Says of a file that cannot be unpacked that it is damaged."""
    try:
        yield
    except _UNPACK_ERRORS as error:
        raise DataError(f"{file} cannot be read to its end ({error}): restore it, and prepare it again") from error


def _read_file(file: Path) -> Iterator[tuple[str, Row | None]]:
    with _reading(file), open_plain(file) as opened:
        start = opened.read(64)
    encoding = _find_encoding(start)
    stem = file.name.lower().removesuffix(".gz").removesuffix(".zst").removesuffix(".bz2").removesuffix(".xz")
    if stem.endswith((".csv", ".tsv")):
        yield from _read_csv(file, encoding, "\t" if stem.endswith(".tsv") else ",")
    elif _is_one_value(file, encoding) and (rows := _read_whole(file, encoding)) is not None:
        yield from rows
    else:
        yield from _read_lines(file, encoding)


def _is_one_value(file: Path, encoding: str) -> bool:
    """Whether a file may hold one JSON value: its first line holds the only one, or begins one."""
    lines = (line for _, line in _lines(file, encoding) if line.strip())
    first = next(lines, None)
    if first is None:
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return first.lstrip()[:1] in (b"[", b"{", "[", "{")
    return next(lines, None) is None


def _find_encoding(start: bytes) -> str:
    for mark, name in _BOMS.items():
        if start.startswith(mark):
            return name
    if start[1:2] == b"\0" and start[:1] != b"\0":
        return "utf-32-le" if start[2:4] == b"\0\0" else "utf-16-le"
    if start[:1] == b"\0":
        return "utf-32-be" if start[1:2] == b"\0" else "utf-16-be"
    return "utf-8"


def _lines(file: Path, encoding: str) -> Iterator[tuple[int, str | bytes]]:
    """The lines of a file, with their numbers: bytes of UTF-8, texts of other encodings.

    Raises:
        DataError: a line is too long, or the file is damaged.
    """
    with _reading(file), open_plain(file) as opened:
        is_bytes = encoding.startswith("utf-8")
        source: IO[bytes] | io.TextIOWrapper = (
            io.BufferedReader(opened) if isinstance(opened, pa.NativeFile) else opened
        )
        if not is_bytes:
            source = io.TextIOWrapper(cast(io.BufferedReader, source), encoding, errors="replace", newline="\n")
        number = 0
        while line := source.readline(MOST_LINE_BYTES):
            number += 1
            if len(line) >= MOST_LINE_BYTES:
                raise DataError(
                    f"line {number} of {file} has more than {MOST_LINE_BYTES >> 20} MiB: write one sample per line"
                )
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 and isinstance(line, bytes) else line


def _read_lines(file: Path, encoding: str) -> Iterator[tuple[str, Row | None]]:
    for number, line in _lines(file, encoding):
        where = f"{file.name}:{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            yield f"{where} (not JSON: {error})", None
            continue
        yield (where, row) if isinstance(row, dict) else (f"{where} (not an object)", None)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"the key {quote(twice)} comes twice")
    return found


def _read_whole(file: Path, encoding: str) -> Iterator[tuple[str, Row | None]] | None:
    """The rows of one JSON value; None where the file is none, and its lines say better what is wrong.

    Raises:
        DataError: it is one that holds no rows, or one that is too long.
    """
    with _reading(file), open_plain(file) as opened:
        content = opened.read(MOST_WHOLE_BYTES + 1)
    try:
        if len(content) > MOST_WHOLE_BYTES:
            raise DataError(
                f"{file} is one JSON value of more than {MOST_WHOLE_BYTES >> 20} MiB: write one object per line "
                f"(`jq -c '.[]' FILE`)"
            )
        value = json.loads(content.decode(encoding), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    rows = _rows_of(file, value)
    if rows == [value] and b"\n" not in content.strip():
        return None
    places = [f"{file.name}, row {number}" for number in range(1, len(rows) + 1)]
    return (
        (at, row) if isinstance(row, dict) else (f"{at} (not an object)", None)
        for at, row in zip(places, rows, strict=True)
    )


def _rows_of(file: Path, value: object) -> list[object]:
    """The rows of an array, of an object with columns, of an object around an array; or one row."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        return [value]
    around = [rows for name, rows in value.items() if name in _AROUND and isinstance(rows, list)]
    if len(around) == 1:
        return around[0]
    columns = list(value.values())
    if all(isinstance(column, list) for column in columns) and len(set(map(len, columns))) == 1:
        return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    if all(isinstance(column, dict | list) for column in columns):
        raise DataError(
            f"{file} is one object with the keys {quote(list(value)[:5])}: pass one object per line, an array of "
            f"objects, or an object of columns that are equally long"
        )
    return [value]


def _read_csv(file: Path, encoding: str, delimiter: str) -> Iterator[tuple[str, Row | None]]:
    """The rows below a line of names; an empty field is null."""
    csv.field_size_limit(MOST_LINE_BYTES)
    lines = (line.decode() if isinstance(line, bytes) else line for _, line in _lines(file, encoding))
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        names = next(reader, [])
        if len(set(names)) < len(names):
            raise DataError(f"{file} has two columns of one name in its first line ({quote(names)}): rename one")
        for cells in reader:
            where = f"{file.name}:{reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(names):
                yield f"{where} ({len(cells)} fields, and the first line names {len(names)})", None
                continue
            yield where, {name: cell or None for name, cell in zip(names, cells, strict=True)}
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not a CSV file in UTF-8 ({error}): save it as one") from error

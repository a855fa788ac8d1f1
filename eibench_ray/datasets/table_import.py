"""A dataset from any table: some columns are inputs, pictures and the target, all other plain ones are metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from eibench_ray.datasets.cell_values import ValueRefusedError, is_missing, to_field, to_metadata, to_target, to_text
from eibench_ray.datasets.conversations import find_conversation, read_conversation
from eibench_ray.datasets.layout import digest_bytes
from eibench_ray.datasets.picture_files import EscapedPathError, PictureFolders, read_picture
from eibench_ray.datasets.picture_values import PictureValue, read_picture_values
from eibench_ray.datasets.problems import ProblemKind, Problems, SampleCheck
from eibench_ray.datasets.sample_ids import SampleIds
from eibench_ray.datasets.source_tables import Row, Table
from eibench_ray.datasets.table_columns import QUESTION, Columns, find_cell, has_column
from eibench_ray.datasets.writer import DatasetWriter, OnRow, PreparedReport, ignore_rows
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import TARGET, Media, MetadataValue, Sample
from eibench_ray.visible_text import list_some, quote, shorten

T = TypeVar("T")
MOST_COLUMNS = 10  # that a note names


def prepare_table(
    table: Table,
    columns: Columns,
    images: Sequence[Path],
    out: str | Path,
    allow_missing_images: bool = False,
    unlabelled: bool = False,
    on_row: OnRow = ignore_rows,
) -> PreparedReport:
    """Prepares a table as a dataset at OUT; rows stream through, and nothing is left there when any cannot be used.

    Pictures that are paths are looked up under `images`; bytes need no folder. With `allow_missing_images`, samples
    that lack one are left out and counted; if `unlabelled`, they need no target.

    Raises:
        DataError: a column that was named is not there, or rows cannot be used: all of them in one message.
    """
    problems = Problems()
    check = SampleCheck(problems, needs_target=not unlabelled)
    reader = _RowReader(columns, PictureFolders(images), problems, check)
    with DatasetWriter(out, table.name) as writer:
        is_first = True
        for done, (where, found) in enumerate(table.rows, start=1):
            try:
                row = None if found is None else read_conversation(found)
            except ValueRefusedError as error:
                where, row = f"{where}, column {find_conversation(found or {})}: {error}", None
            if row is None:
                problems.add(ProblemKind.MALFORMED, where)
                continue
            if is_first:
                _require_columns(where, row, columns, check, unlabelled=unlabelled)
                is_first = False
            reader.read_into(writer, where, row)
            on_row(done, table.num_rows)
        writer.left_out = problems.count(ProblemKind.MISSING)
        problems.raise_any(table.name, ignore={ProblemKind.MISSING} if allow_missing_images else set())
    return PreparedReport(((writer.path, writer.card),), (*reader.notes, *writer.notes))


def _require_columns(where: str, row: Row, columns: Columns, check: SampleCheck, *, unlabelled: bool) -> None:
    """Tells the check which input all samples need.

    Raises:
        DataError: a column that was named is not there, or none that could be an input or the target.
    """
    missing = [column for column in columns.chosen if not has_column(row, column)]
    there = [name for name, column in columns.inputs.items() if has_column(row, column)]
    if not missing and not there:
        missing = [QUESTION]
    elif not missing and not unlabelled and not has_column(row, columns.target):
        missing = [columns.target]
    if missing:
        name = missing[0] if missing[0] in (QUESTION, TARGET) else "NAME"
        less = " (or --unlabelled where samples have none yet)" if name == TARGET else ""
        raise DataError(
            f"{where} has no column {', '.join(missing)}; it has {shorten(', '.join(row))}: "
            f"name the right one with --map {name}=COLUMN{less}"
        )
    check.asked = QUESTION if QUESTION in there else there[0]


class _RowReader:
    """Reads rows of one table; what cannot be used is noted."""

    def __init__(self, columns: Columns, folders: PictureFolders, problems: Problems, check: SampleCheck) -> None:
        self._columns = columns
        self._read_columns = columns.read
        self._folders = folders
        self._problems = problems
        self._check = check
        self._ids = SampleIds()
        self._kept: dict[str, None] = {}
        self._dropped: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}
        self._left: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """The columns that were kept as metadata, and those that were not, of all rows so far."""
        notes = []
        if self._kept:
            notes.append(f"kept as metadata: the columns {list_some(map(quote, self._kept), MOST_COLUMNS)}")
        if self._dropped:
            told = (
                f"{quote(column)} ({self._reasons[column]}; rows: {count})" for column, count in self._dropped.items()
            )
            notes.append(
                f"not kept, as metadata are texts, numbers, booleans and lists of texts: the columns "
                f"{list_some(told, MOST_COLUMNS)}; --map image=COLUMN reads one as pictures, --map NAME=COLUMN.FIELD "
                f"a part of it"
            )
        if self._left:
            left = list_some(map(quote, self._left), MOST_COLUMNS)
            notes.append(f"not kept, as no --keep names them: the columns {left}")
        return tuple(notes)

    def read_into(self, writer: DatasetWriter, where: str, row: Row) -> None:
        """Adds the row to the dataset, or notes why not."""
        try:
            sample, images = self._read(row)
        except EscapedPathError as error:
            self._problems.add(ProblemKind.ESCAPED, f"{where} ({shorten(str(error))})")
            return
        except _CellError as error:
            self._problems.add(ProblemKind.MALFORMED, f"{where}, column {error}")
            return
        if not self._check.accept(where, sample):
            return
        found = [image for image in images if image is not None]
        if len(found) < len(images):
            paths = (media.path for media, image in zip(sample.media, images, strict=True) if image is None)
            self._problems.add(ProblemKind.MISSING, f"{where} ({shorten(', '.join(paths))})")
            return
        writer.add(sample, found)

    def _read(self, row: Row) -> tuple[Sample, list[bytes | None]]:
        """A row's sample, and the bytes of its pictures where they were found.

        Raises:
            _CellError: a cell has no single meaning.
            EscapedPathError: a picture's path leads out of the picture folders.
        """
        columns = self._columns
        inputs = {name: text for name, column in columns.inputs.items() if (text := _cell(row, column, to_field))}
        media, images = [], []
        for column in columns.images:
            for value in _cell(row, column, read_picture_values):
                path, image = self._find_picture(value)
                media.append(Media(path))
                images.append(image)
        first, *others = (one.path for one in media) if media else (None,)
        asked = "\n".join((inputs.get(self._check.asked, ""), *(path for path in others if path)))
        sample = Sample(
            sample_id=self._id(row) or self._ids.make(first, asked),
            inputs=inputs,
            media=tuple(media),
            target=_cell(row, columns.target, to_target),
            metadata=self._metadata(row),
        )
        return sample, images

    def _metadata(self, row: Row) -> dict[str, MetadataValue]:
        """The columns that are kept; one that cannot be is counted with its reason."""
        if (kept := self._columns.kept) is None:
            kept = {column: column for column in row if column not in self._read_columns}
        else:
            self._left |= dict.fromkeys(column for column in row if column not in {*kept.values(), *self._read_columns})
        values: dict[str, MetadataValue] = {}
        for name, column in kept.items():
            cell = find_cell(row, column)
            try:
                values[name] = to_metadata(cell)
            except ValueRefusedError as error:
                if isinstance(cell, str):  # one that no file can hold
                    raise _CellError(f"{column}: {error}") from error
                self._dropped[column] += 1
                self._reasons.setdefault(column, shorten(str(error), 80))
            else:
                if not is_missing(cell):
                    self._kept[name] = None
        return values

    def _id(self, row: Row) -> str | None:
        """The id that the row has; None where its table has no such column. Whoever gives ids gives each row one."""
        column = self._columns.sample_id
        if not has_column(row, column):
            return None
        sample_id = _cell(row, column, _to_id)
        if not sample_id.strip():
            raise _CellError(f"{column}: it is null or empty: give each row an id, or leave the column out")
        return sample_id

    def _find_picture(self, value: PictureValue) -> tuple[str, bytes | None]:
        """A picture's path and bytes; bytes without a path are named by their digest."""
        if value.content is not None:
            return value.path or digest_bytes(value.content), value.content
        assert value.path is not None
        path = self._folders.relative(value.path)
        file = self._folders.find(path)
        return path, None if file is None else read_picture(file)


class _CellError(Exception):
    """A cell that has no single meaning: its column, and what it is."""


def _cell(row: Row, column: str, read: Callable[[object], T]) -> T:
    try:
        return read(find_cell(row, column))
    except ValueRefusedError as error:
        raise _CellError(f"{column}: {error}") from error


def _to_id(value: object) -> str:
    return "" if is_missing(value) else to_text(value)

"""A dataset from any table: a mapping says which column is which field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from eibench_ray.benchmarks.eibench.triggers import number_triggers, split_triggers
from eibench_ray.datasets.cell_values import ValueRefusedError, is_missing, to_field, to_reference, to_text, to_triggers
from eibench_ray.datasets.layout import digest_bytes
from eibench_ray.datasets.picture_files import EscapedPathError, PictureFolders, read_picture
from eibench_ray.datasets.picture_values import PictureValue, read_picture_value
from eibench_ray.datasets.problems import ProblemKind, Problems, SampleCheck
from eibench_ray.datasets.sample_ids import SampleIds
from eibench_ray.datasets.source_tables import Row, Table
from eibench_ray.datasets.writer import DatasetWriter, OnRow, PreparedReport, ignore_rows
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import Sample
from eibench_ray.visible_text import quote, shorten

T = TypeVar("T")
FIELDS = ("id", "image", "question", "emotion", "reference", "triggers", "caption", "source")
UNSPECIFIED_EMOTION = "unspecified"
MOST_COLUMNS = 10  # that a note names


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """The column of every field: FIELD=COLUMN where the user says so, else the column of the field's own name."""
    columns = {name: name for name in FIELDS}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if name not in FIELDS or not equals or not column:
            raise DataError(f"--map {pair} is not FIELD=COLUMN with a FIELD of {', '.join(FIELDS)}")
        columns[name] = column
    return columns


def prepare_table(
    table: Table,
    mapping: Sequence[str],
    images: Sequence[Path],
    out: str | Path,
    allow_missing_images: bool = False,
    unlabelled: bool = False,
    on_row: OnRow = ignore_rows,
) -> PreparedReport:
    """Prepares a table as a dataset at OUT; rows stream through, and nothing is left there when any cannot be used.

    `mapping` holds FIELD=COLUMN pairs. Pictures that are paths are looked up under `images`; bytes need no folder. With
    `allow_missing_images`, samples without their picture are left out and counted; if `unlabelled`, they need no
    reference.

    Raises:
        DataError: a mapped column is not there, or rows cannot be used: all of them in one message.
    """
    problems = Problems()
    check = SampleCheck(problems, needs_reference=not unlabelled)
    reader = _RowReader(parse_mapping(mapping), PictureFolders(images), problems, check)
    with DatasetWriter(out, table.name) as writer:
        for done, (where, row) in enumerate(table.rows, start=1):
            if row is None:
                problems.add(ProblemKind.MALFORMED, where)
                continue
            reader.read_into(writer, where, row)
            on_row(done, table.num_rows)
        writer.left_out = problems.count(ProblemKind.MISSING)
        problems.raise_any(table.name, ignore={ProblemKind.MISSING} if allow_missing_images else set())
    return PreparedReport(((writer.path, writer.card),), (*reader.notes, *writer.notes))


class _RowReader:
    """Reads rows of one table; what cannot be used is noted."""

    def __init__(
        self, columns: Mapping[str, str], folders: PictureFolders, problems: Problems, check: SampleCheck
    ) -> None:
        self._columns = columns
        self._folders = folders
        self._problems = problems
        self._check = check
        self._ids = SampleIds()
        self._is_first = True
        self._mapped = frozenset(columns.values())
        self._unread: Counter[str] = Counter()

    @property
    def notes(self) -> tuple[str, ...]:
        """The columns that hold something and are no field, of all rows so far."""
        if not self._unread:
            return ()
        named = ", ".join(quote(column) for column in list(self._unread)[:MOST_COLUMNS])
        more = f" and {len(self._unread) - MOST_COLUMNS} more" if len(self._unread) > MOST_COLUMNS else ""
        return (f"not read, for they name no field: the columns {named}{more}; --map FIELD=COLUMN has one read",)

    def read_into(self, writer: DatasetWriter, where: str, row: Row) -> None:
        """Adds the row to the dataset, or notes why not."""
        if self._is_first:
            self._require_columns(where, row)
            self._is_first = False
        others = ((column, value) for column, value in row.items() if column not in self._mapped)
        self._unread.update(column for column, value in others if not is_missing(value) and value not in ("", [], {}))
        try:
            sample, image = self._read(row)
        except EscapedPathError as error:
            self._problems.add(ProblemKind.ESCAPED, f"{where} ({shorten(str(error))})")
            return
        except _CellError as error:
            self._problems.add(ProblemKind.MALFORMED, f"{where}, column {error}")
            return
        if not self._check.accept(where, sample):
            return
        if sample.image_path is not None and image is None:
            self._problems.add(ProblemKind.MISSING, f"{where} ({shorten(sample.image_path)})")
            return
        writer.add(sample, image)

    def _require_columns(self, where: str, row: Row) -> None:
        mapped = {column for name, column in self._columns.items() if name != column or name == "question"}
        if missing := sorted(mapped - row.keys()):
            raise DataError(
                f"{where} has no column {', '.join(missing)}; it has {shorten(', '.join(row))}: "
                f"name the right ones with --map FIELD=COLUMN"
            )

    def _read(self, row: Row) -> tuple[Sample, bytes | None]:
        """A row's sample, and its picture's bytes where they were found.

        Raises:
            _CellError: a cell has no single meaning.
            EscapedPathError: the picture's path leads out of the picture folders.
        """
        path, image = self._find_picture(self._cell(row, "image", read_picture_value))
        question = self._cell(row, "question", to_field)
        listed = row.get(self._columns["triggers"])
        triggers = self._cell(row, "triggers", to_triggers)
        reference = self._cell(row, "reference", to_reference)
        if not reference:
            reference = listed if triggers and isinstance(listed, str) else number_triggers(triggers)
        sample = Sample(
            sample_id=self._id(row) or self._ids.make(path, question),
            question=question,
            emotion=self._cell(row, "emotion", to_field) or UNSPECIFIED_EMOTION,
            reference=reference,
            triggers=triggers or split_triggers(reference),
            image_path=path,
            caption=self._cell(row, "caption", partial(to_field, separator="\n")) or None,
            source=self._cell(row, "source", to_field),
        )
        return sample, image

    def _cell(self, row: Row, name: str, read: Callable[[object], T]) -> T:
        column = self._columns[name]
        try:
            return read(row.get(column))
        except ValueRefusedError as error:
            raise _CellError(f"{column}: {error}") from error

    def _id(self, row: Row) -> str | None:
        """The id that the row has; None where its table has no such column. Whoever gives ids gives each row one."""
        if self._columns["id"] not in row:
            return None
        sample_id = self._cell(row, "id", _to_id)
        if not sample_id.strip():
            raise _CellError(
                f"{self._columns['id']}: it is null or empty: give each row an id, or leave the column out"
            )
        return sample_id

    def _find_picture(self, value: PictureValue) -> tuple[str | None, bytes | None]:
        """A picture's path and bytes; bytes without a path are named by their digest, no picture is (None, None)."""
        if value.content is not None:
            return value.path or digest_bytes(value.content), value.content
        if value.path is None:
            return None, None
        path = self._folders.relative(value.path)
        file = self._folders.find(path)
        return path, None if file is None else read_picture(file)


class _CellError(Exception):
    """A cell that has no single meaning: its column, and what it is."""


def _to_id(value: object) -> str:
    return "" if is_missing(value) else to_text(value)

"""A dataset from any table: a mapping says which column is which field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from eibench_ray.data.layout import digest_bytes, digest_text
from eibench_ray.data.pictures import EscapedPathError, PictureFolders, read_picture
from eibench_ray.data.problems import ProblemKind, Problems, SampleCheck
from eibench_ray.data.tables import Row, Table
from eibench_ray.data.triggers import number_triggers, split_triggers
from eibench_ray.data.writer import DatasetWriter, OnRow, PreparedReport, ignore_rows
from eibench_ray.errors import DataError
from eibench_ray.records import Sample

FIELDS = ("id", "image", "question", "emotion", "reference", "triggers", "caption", "source")
UNSPECIFIED_EMOTION = "unspecified"


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
    """What was written to OUT; rows stream through, and nothing is left there when any of them cannot be used.

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
    return PreparedReport(((writer.path, writer.card),))


class _RowReader:
    """Reads rows of one table; what cannot be used is noted."""

    def __init__(
        self, columns: Mapping[str, str], folders: PictureFolders, problems: Problems, check: SampleCheck
    ) -> None:
        self._columns = columns
        self._folders = folders
        self._problems = problems
        self._check = check
        self._is_first = True

    def read_into(self, writer: DatasetWriter, where: str, row: Row) -> None:
        """Adds the row to the dataset, or notes why not."""
        if self._is_first:
            self._require_columns(where, row)
            self._is_first = False
        try:
            path, image = self._to_picture(row.get(self._columns["image"]))
        except EscapedPathError as error:
            self._problems.add(ProblemKind.ESCAPED, f"{where} ({error})")
            return
        except TypeError as error:
            self._problems.add(ProblemKind.MALFORMED, f"{where} ({error})")
            return
        if not self._check.accept(where, sample := self._to_sample(row, path)):
            return
        if path is not None and image is None:
            self._problems.add(ProblemKind.MISSING, f"{where} ({path})")
            return
        writer.add(sample, image)

    def _require_columns(self, where: str, row: Row) -> None:
        mapped = {column for name, column in self._columns.items() if name != column or name == "question"}
        if missing := sorted(mapped - row.keys()):
            raise DataError(
                f"{where} has no column {', '.join(missing)}; it has {', '.join(row)}: "
                f"name the right ones with --map FIELD=COLUMN"
            )

    def _to_picture(self, value: object) -> tuple[str | None, bytes | None]:
        """A picture's path and bytes; bytes without a path are named by their digest, no picture is (None, None)."""
        match value:
            case None:
                return None, None
            case bytes():
                return digest_bytes(value), value
            case {"bytes": bytes(content), "path": str(path)} if path:
                return path, content
            case {"bytes": bytes(content)}:
                return digest_bytes(content), content
            case str(path) | {"path": str(path)}:
                path = self._folders.relative(path)
                file = self._folders.find(path)
                return path, None if file is None else read_picture(file)
        raise TypeError(f"a picture is a path, bytes, or both, not {type(value).__name__}")

    def _to_sample(self, row: Row, path: str | None) -> Sample:
        question = self._text(row, "question")
        listed = row.get(self._columns["triggers"])
        triggers = _to_triggers(listed)
        reference = self._text(row, "reference") or (listed if isinstance(listed, str) else number_triggers(triggers))
        stem = PurePosixPath(path).with_suffix("").as_posix() if path else "text"
        return Sample(
            sample_id=self._text(row, "id") or f"{stem}#{digest_text(question)[:8]}",
            question=question,
            emotion=self._text(row, "emotion") or UNSPECIFIED_EMOTION,
            reference=reference,
            triggers=triggers or split_triggers(reference),
            image_path=path,
            caption=self._text(row, "caption") or None,
            source=self._text(row, "source"),
        )

    def _text(self, row: Row, name: str) -> str:
        """A field's text, empty where it has none; numbers (ids, class labels) are text too."""
        value = row.get(self._columns[name])
        return str(value) if isinstance(value, str | int) else ""


def _to_triggers(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return split_triggers(value)
    if isinstance(value, Sequence):
        return tuple(item.strip() for item in value if isinstance(item, str) and item.strip())
    return ()

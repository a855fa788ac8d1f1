"""The columns of a table by what they are read as: inputs, pictures, the target; all other plain ones are metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eibench_ray.datasets.source_tables import Row
from eibench_ray.errors import DataError
from eibench_ray.rows.sample import TARGET, TARGETS

ID, IMAGE = "id", "image"
QUESTION = "question"  # an input that is read without being mapped
# Words that prompts read something else under.
_TAKEN = frozenset({"images", "item", TARGETS})


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table by what they are read as. A name with dots reaches into objects: `answers.text`.

    Attributes:
        sample_id, target: their columns.
        kept: name -> column of the metadata; None: all other plain columns, under their own names.
    """

    sample_id: str
    target: str
    images: tuple[str, ...]  # columns of pictures, in order; each may hold a list of them
    inputs: Mapping[str, str]  # name -> column
    kept: Mapping[str, str] | None
    chosen: tuple[str, ...]  # the columns that the user has named, which must be there

    @property
    def read(self) -> frozenset[str]:
        """All columns that are no metadata."""
        return frozenset({self.sample_id, self.target, *self.images, *self.inputs.values()})


def parse_columns(mapping: Sequence[str], kept: Sequence[str] = ()) -> Columns:
    """The columns that are read.

    Args:
        mapping: NAME=COLUMN: `id`, `target`, `image` (several, in order), and any other name is an input.
        kept: COLUMN or NAME=COLUMN of metadata; none: all other columns.

    Raises:
        DataError: one of them is of another form, or names something twice.
    """
    pairs = [_split_pair("--map", pair, "NAME=COLUMN") for pair in mapping]
    named = [name for name, _ in pairs if name != IMAGE]
    if twice := sorted(name for name, count in Counter(named).items() if count > 1):
        raise DataError(f"--map names {', '.join(twice)} twice: only image can have several columns")
    if taken := sorted(_TAKEN & set(named)):
        raise DataError(f"--map {taken[0]}=...: prompts read something else under {taken[0]!r}: choose another name")
    images = tuple(column for name, column in pairs if name == IMAGE)
    others = dict(pair for pair in pairs if pair[0] not in (ID, TARGET, IMAGE))
    held = dict(_split_pair("--keep", pair if "=" in pair else f"{pair}={pair}", "[NAME=]COLUMN") for pair in kept)
    return Columns(
        sample_id=dict(pairs).get(ID, ID),
        target=dict(pairs).get(TARGET, TARGET),
        images=images or (IMAGE, "images"),
        inputs=others if QUESTION in others else others | {QUESTION: QUESTION},
        kept=held if kept else None,
        chosen=(*(column for _, column in pairs), *held.values()),
    )


def _split_pair(option: str, pair: str, form: str) -> tuple[str, str]:
    name, equals, column = pair.partition("=")
    if not (name and equals and column):
        raise DataError(f"{option} {pair} is not {form}, e.g. {option} question=prompt")
    return name, column


def has_column(row: Row, column: str) -> bool:
    """Whether a row has a column, or the part of one that the name reaches into."""
    return column in row or find_cell(row, column) is not None


def find_cell(row: Row, column: str) -> object:
    """A cell, or the part of one that the name reaches into; None where there is none."""
    if column in row or "." not in column:
        return row.get(column)
    value: object = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value

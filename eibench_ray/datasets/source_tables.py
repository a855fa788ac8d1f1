"""A table of rows from outside, whatever it was read from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to prepare, each with its place for messages.

    Attributes:
        rows: (place, columns); read once. Where the columns are None, the place says why.
    """

    name: str  # what the messages call the table
    rows: Iterable[tuple[str, Row | None]]
    num_rows: int | None = None  # how many there are, where that is known before they are read

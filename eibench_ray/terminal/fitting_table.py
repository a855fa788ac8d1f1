"""Tables that fit the terminal: no number is folded or cut, and what does not fit is left out and named.

    columns = [Column("model", names, is_name=True), Column("accuracy %", shares), Column("easy", easy, rank=1)]
    console.print(FittingTable(columns))

Columns go by rank, the highest first and of one rank the last first, until the others fit with their names whole. Where
columns of rank 0 alone are too wide, long names are folded; then they go, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eibench_ray.visible_text import in_page

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

_LEAST_NAME = 12  # characters of a name beside each other, where a terminal is so narrow that names fold
_GAP = 1  # the box puts a blank between columns


@dataclass(frozen=True, slots=True)
class Column:
    """A column in words or in numbers."""

    heading: Text | str
    cells: Sequence[Text | str]  # one per row, of as many lines as they like
    is_name: bool = False  # words, which stand left and may be folded; else numbers, which stand right and never are
    rank: int = 0  # how soon it is left out: the highest first; 0 only where nothing else helps
    least: int = 0  # characters to which a sentence is folded before any column is left out; 0: it is no sentence

    @property
    def width(self) -> int:
        """Characters of its longest line."""
        return max(_width(part) for part in (self.heading, *self.cells))

    @property
    def title(self) -> str:
        """Its name in a sentence."""
        return " ".join(_plain(self.heading).split())


class FittingTable:
    """A rich table that leaves columns out where the terminal is too narrow, and says which.

    Args:
        columns: all of the same number of cells.
        title: above it; empty: none.
        strong: numbers of the rows that stand out.
        elsewhere: where the columns that are left out can be read, as a sentence without its end.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        title: str = "",
        strong: frozenset[int] = frozenset(),
        elsewhere: str = "A wider terminal and --json show them",
    ) -> None:
        self._columns = list(columns)
        self._title = title
        self._strong = strong
        self._elsewhere = elsewhere

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table in as many columns as fit, and a line about the others."""
        from rich.text import Text

        shown, left_out = fit_columns(self._columns, options.max_width)
        if self._title:
            yield Text(self._title, style="bold")
        yield self._render(shown, options.max_width)
        if left_out:
            names = ", ".join(column.title for column in left_out)
            told = f"Left out, since {options.max_width} columns are too narrow: {names}. {self._elsewhere}."
            yield Text(told, style="dim")

    def _render(self, shown: Sequence[Column], width: int) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, header_style="")
        for column, room in zip(shown, _widths(shown, width), strict=True):
            heading = column.heading if isinstance(column.heading, Text) else Text(column.heading, style="bold")
            justify: Literal["left", "right"] = "left" if column.is_name else "right"
            table.add_column(heading, justify=justify, width=room, no_wrap=not column.is_name, overflow="fold")
        for number, cells in enumerate(zip(*(column.cells for column in shown), strict=True)):
            # Text, never str: rich would read a name in brackets as markup.
            texts = (cell if isinstance(cell, Text) else Text(cell) for cell in cells)
            table.add_row(*texts, style="bold" if number in self._strong else "")
        return table


def fit_columns(columns: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit into so many characters, and those that are left out, both in their order.

    The first column is always there.
    """
    shown = list(columns)
    for is_folded in (False, True):
        for victim in sorted(columns[1:], key=lambda column: column.rank)[::-1]:
            if _least(shown, is_folded=is_folded) <= width or (not is_folded and victim.rank == 0):
                break
            if any(column is victim for column in shown):
                shown = [column for column in shown if column is not victim]
    return shown, [column for column in columns if not any(column is kept for kept in shown)]


def _least(columns: Sequence[Column], *, is_folded: bool) -> int:
    """Characters that columns take at least, sentences folded, names whole or folded."""
    return sum(_limit(column, is_folded=is_folded) for column in columns) + _GAP * (len(columns) - 1)


def _limit(column: Column, *, is_folded: bool) -> int:
    least = column.least or (_LEAST_NAME if is_folded and column.is_name else column.width)
    return min(column.width, least)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """The width of each column; where all are too wide, sentences give way, then names, the longest first."""
    widths = [column.width for column in columns]
    sentences = {number: column.least for number, column in enumerate(columns) if column.least}
    names = {number: 1 for number, column in enumerate(columns) if column.is_name}
    for limits in (sentences, names):
        for _ in range(sum(widths) + _GAP * (len(widths) - 1) - width):
            narrower = [number for number, least in limits.items() if widths[number] > least]
            if not narrower:
                break
            widths[max(narrower, key=widths.__getitem__)] -= 1
    return widths


def _plain(text: Text | str) -> str:
    """The characters as the console will show them."""
    return in_page(text if isinstance(text, str) else text.plain)


def _width(text: Text | str) -> int:
    from rich.cells import cell_len

    return max((cell_len(line) for line in _plain(text).split("\n")), default=0)

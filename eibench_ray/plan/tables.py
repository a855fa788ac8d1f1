"""Tables of a plan: columns of words and of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from eibench_ray.visible import in_line

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def empty_table(title: str, words: list[str], numbers: list[str]) -> Table:
    """A table with columns of words and of numbers, and no row yet."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    # Cells without padding: with it, the tables of 156 cells take twice as long.
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", padding=0)
    for name in words:
        table.add_column(f"{name} ")
    for name in numbers:
        table.add_column(f" {name}", justify="right")
    return table


def texts(facts: Mapping[str, Any], *names: str) -> Iterator[Text]:
    """Words as they are: no name is read as markup."""
    from rich.text import Text

    return (Text(in_line(facts[name])) for name in names)


def counts(facts: Mapping[str, Any], *names: str) -> Iterator[Text]:
    """Numbers with their thousands apart."""
    from rich.text import Text

    return (Text(f"{facts[name]:,}") for name in names)

"""The terminal that the commands write to: all data is shown as it is, and nothing in it is taken for a command.

Names, paths, reasons and replies are data. They are no markup (`[/b]`, `:smile:`) and no control sequences of the
terminal. Styles are given beside a text (`say(text, style="yellow")`), never within it.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from eibench_ray.terminal.live_screen import can_redraw
from eibench_ray.visible_text import in_page

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
# Columns where nobody says how many there are: no terminal on any of the three streams, and no COLUMNS.
WIDTH = 100


class PlainConsole(Console):
    """A console that reads no markup and lets no control character of a text through to the terminal."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        # Spinners and views are drawn on stderr: lines are told there where they cannot be.
        is_terminal = False if stderr and not can_redraw(sys.stderr) else None
        super().__init__(
            stderr=stderr, width=width, force_terminal=is_terminal, markup=False, emoji=False, highlight=False
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of what is printed, of a live display too."""
        return super().render(_plain(renderable), options)


def open_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, as wide as the terminal; behind `| less`, as wide as the one less shows it in."""
    is_known = "COLUMNS" in os.environ or any(os.isatty(stream) for stream in (0, 1, 2))
    return PlainConsole(stderr=stderr, width=None if is_known else WIDTH)


def say(text: str, *, style: str = "", stderr: bool = False) -> None:
    """Prints lines as they are, unfolded, such as a reason or a path."""
    open_console(stderr=stderr).print(Text(text, style=style), soft_wrap=True)


@contextmanager
def row_progress(doing: str) -> Iterator[Callable[[int, int | None], None]]:
    """A callback (rows done, rows in all) that draws a bar on stderr, where that is a terminal."""
    from rich.progress import Progress

    with Progress(console=PlainConsole(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def show_files(paths: Sequence[Path], page: RenderableType, values: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints what a command has written: for people the page and the paths, for programs the values with them."""
    files = [str(path) for path in paths]
    if as_json:
        typer.echo(json.dumps({**values, "files": files}))
        return
    console = open_console()
    console.print(page)
    console.print("\n".join(files), soft_wrap=True)


def _plain(renderable: RenderableType) -> RenderableType:
    """The same, with what acts on a terminal visible; tables are changed in place, before they are measured."""
    if isinstance(renderable, str):
        return in_page(renderable)
    if isinstance(renderable, Text):
        return _plain_text(renderable)
    if isinstance(renderable, Group):
        return Group(*map(_plain, renderable.renderables), fit=renderable.fit)
    if isinstance(renderable, Table):
        for column in renderable.columns:
            column.header, column.footer = _plain(column.header), _plain(column.footer)
            column._cells = [_plain(cell) for cell in column._cells]
        renderable.title = _plain_title(renderable.title)
        renderable.caption = _plain_title(renderable.caption)
    return renderable


def _plain_title(title: str | Text | None) -> str | Text | None:
    return in_page(title) if isinstance(title, str) else _plain_text(title) if title is not None else None


def _plain_text(text: Text) -> Text:
    """The text with its styles; those of what was invisible go to what is shown instead."""
    if in_page(text.plain) == text.plain:
        return text
    plain = text.blank_copy()
    for number, character in enumerate(text.plain):
        shown = in_page(character)
        plain.append_text(text[number]) if shown == character else plain.append(shown)
    return plain


class _Stream(io.FileIO):
    """A stream whose terminal may go: what is written to it then is dropped, as there is nobody to read it."""

    def write(self, content: Any, /) -> int:
        """The number of bytes that were taken."""
        try:
            return super().write(content) or 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(content)


def outlive_terminal() -> None:
    """Lets the command go on where its terminal is closed; what is no terminal is left as it is."""
    sys.stdout, sys.stderr = _outliving(sys.stdout), _outliving(sys.stderr)


def _outliving(stream: TextIO) -> TextIO:
    if not stream.isatty():
        return stream
    raw = io.BufferedWriter(_Stream(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, encoding=stream.encoding, errors=stream.errors, line_buffering=True)

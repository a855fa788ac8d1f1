"""Lines that are drawn over and over at the same place of a terminal, below whatever else is printed meanwhile."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.live import Live
    from rich.text import Text

# Of the time of the process that draws: two hundred cells take some 20 ms, and are drawn every two seconds.
MOST_SHARE = 0.01


def can_redraw(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which lines can be drawn over."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


class LiveScreen:
    """Shows lines on a console's terminal for the block; nothing where the console is none.

    The lines are gone afterwards, and the cursor is back, however the block ends.

    Args:
        console: what else is printed on it, or logged to stderr, stands above the lines.
        draw: the lines, for the terminal's columns and lines; called at each `refresh`.
    """

    def __init__(self, console: Console, draw: Callable[[int, int], Sequence[Text]]) -> None:
        self._console = console
        self._draw = draw
        self._live: Live | None = None
        self._size = console.size
        self._drawn_at, self._took_s = -math.inf, 0.0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The lines as they are now."""
        yield from self._draw(options.size.width, options.size.height)

    def __enter__(self) -> LiveScreen:
        if self._console.is_terminal:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Draws the lines anew, unless that would take more than its share of the time."""
        now = time.monotonic()
        if self._live is None or now - self._drawn_at < self._took_s / MOST_SHARE:
            return
        self._drawn_at, began = now, time.thread_time()
        self._redraw(self._live)
        self._took_s = time.thread_time() - began

    def _redraw(self, live: Live) -> None:
        if (size := self._console.size) != self._size:
            # A terminal that became narrower may have folded the lines: nobody knows where they begin any more.
            is_smaller = size.width < self._size.width or size.height < self._size.height
            self._size = size
            if is_smaller:
                live.stop()
                self._console.clear()
                self._start()
                return
        live.refresh()

    def _start(self) -> None:
        from rich.live import Live

        # What is printed to a stdout that is no terminal is for programs.
        has_stdout = sys.stdout.isatty()
        self._live = Live(self, console=self._console, auto_refresh=False, transient=True, redirect_stdout=has_stdout)
        self._live.start(refresh=True)

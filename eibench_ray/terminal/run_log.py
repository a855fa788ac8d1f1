"""Lines that tell a person how far a command is: on stderr where nothing can be drawn there, and in a run's `run.log`.

with lines_shown():                        # the command: a batch job's log gets every line at once
    with phase("planning the sweep"):      # a line now, and another every 10 s while it lasts
        ...
    with log_kept(folder / LOG_FILE):      # the run: the same lines, those from before included
        log.info("replica ready ...")      # whoever has something to tell, as to any logger
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from eibench_ray.terminal.live_screen import can_redraw
from eibench_ray.visible_text import PlainFormatter, in_line

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger(__name__)

LOG_FILE = "run.log"
# Nothing takes longer without a word.
WORD_EVERY_S = 10.0
_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_LONG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_DATE = "%Y-%m-%d %H:%M:%S"
_PACKAGE = "eibench_ray"
# Lines from before the run has its folder; a command that never gets one keeps no more.
_MOST_EARLY = 1000


class ScreenHandler(logging.StreamHandler[TextIO]):
    """Log lines on stderr, whatever that is by now; the command's one handler of its own.

    Attributes:
        shown_from: the level from which lines are shown; what lasts long is always told, and what the command prints
            itself never.
    """

    def __init__(self, *, is_verbose: bool) -> None:
        super().__init__(sys.stderr)
        self.shown_from = logging.INFO if is_verbose else logging.WARNING
        self.addFilter(self._is_shown)
        self.setFormatter(PlainFormatter(_LONG_FORMAT if is_verbose else _FORMAT, _DATE))

    def _is_shown(self, record: logging.LogRecord) -> bool:
        is_due = record.levelno >= self.shown_from or getattr(record, "is_overdue", False)
        return is_due and not getattr(record, "is_printed", False)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the line."""
        self.stream = sys.stderr
        super().emit(record)


class _EarlyLines(logging.Handler):
    """Keeps what was told before the run has its folder."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.records) < _MOST_EARLY:
            self.records.append(record)


class _LogFile(logging.FileHandler):
    """A run's log; a full disk costs its lines and not the run."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=True)
        self.setLevel(logging.INFO)
        self.setFormatter(PlainFormatter(_FORMAT, _DATE))
        self._is_lost = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging's own name
        """Says once that lines are lost."""
        if not self._is_lost:
            self._is_lost = True
            reason = getattr(sys.exception(), "strerror", None) or sys.exception()
            sys.stderr.write(f"{in_line(str(self.baseFilename))} cannot be written ({reason}): it lacks lines\n")


@contextlib.contextmanager
def lines_shown() -> Iterator[None]:
    """Shows every line on stderr for the block where nothing can be drawn there, and keeps them for the run's log."""
    logger, early = logging.getLogger(_PACKAGE), _EarlyLines()
    screens = [one for one in logging.getLogger().handlers if isinstance(one, ScreenHandler)]
    levels = [screen.shown_from for screen in screens]
    if not can_redraw(sys.stderr):
        for screen in screens:
            screen.shown_from = min(screen.shown_from, logging.INFO)
    logger.addHandler(early)
    try:
        with _told(logger):
            yield
    finally:
        logger.removeHandler(early)
        for screen, level in zip(screens, levels, strict=True):
            screen.shown_from = level


@contextlib.contextmanager
def log_kept(path: Path) -> Iterator[None]:
    """Appends every line of the block to a file, after those that were told since `lines_shown`."""
    logger, file = logging.getLogger(_PACKAGE), _LogFile(path)
    for early in (one for one in logger.handlers if isinstance(one, _EarlyLines)):
        for record in early.records:
            file.handle(record)
        early.records.clear()
    logger.addHandler(file)
    try:
        with _told(logger):
            yield
    finally:
        logger.removeHandler(file)
        with contextlib.suppress(OSError):  # it was told when it began
            file.close()


def tell(console: Console, line: str) -> None:
    """Tells the log of a line, and shows it on a terminal, where the log is not seen."""
    log.info("%s", line)
    if console.is_terminal:
        console.print(in_line(line), soft_wrap=True)


@contextlib.contextmanager
def _told(logger: logging.Logger) -> Iterator[None]:
    """Lets lines of level INFO through for the block."""
    level = logger.level
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def phase(
    doing: str,
    console: Console | None = None,
    *,
    how_far: Callable[[], str] = str,
    is_told_early: bool = True,
    every_s: float = WORD_EVERY_S,
) -> Iterator[None]:
    """Tells what is done in the block: when it begins, every few seconds, and when it has taken long.

    A terminal shows a spinner where there is a console for it, else the lines from the second on.

    Args:
        doing: in words, "scoring 4 cells".
        console: where a spinner is shown, if it is a terminal.
        how_far: says more for the next line, from another thread.
        is_told_early: False where it is mostly short, and a user's mistake ends it with a paragraph of its own.
        every_s: seconds between two lines.
    """
    began, is_over = time.monotonic(), threading.Event()
    has_spinner = console is not None and console.is_terminal

    def tell() -> None:
        while not is_over.wait(every_s):
            more = f", {words}" if (words := how_far()) else ""
            log.info(
                "still %s (%.0f s%s)", doing, time.monotonic() - began, more, extra={"is_overdue": not has_spinner}
            )

    if is_told_early:
        log.info("%s", doing)
    thread = threading.Thread(target=tell, name=f"tells: {doing}", daemon=True)
    thread.start()
    try:
        with console.status(in_line(doing)) if console and has_spinner else contextlib.nullcontext():
            yield
    finally:
        is_over.set()
        thread.join()
        if (took_s := time.monotonic() - began) >= every_s:
            log.info("%s took %.0f s", doing, took_s)

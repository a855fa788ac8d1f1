"""`eibench-ray status --watch`: draws a run again and again until it has ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from eibench_ray.cli.choose_run import choose_run
from eibench_ray.cli.console import open_console, say
from eibench_ray.terminal.live_screen import LiveScreen, can_redraw
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from eibench_ray.runs.find_run import FoundRun
    from eibench_ray.runs.run_watch import RunWatch

# Where nothing can be drawn over, a line comes no oftener.
LINE_EVERY_S = 10.0
INTERRUPTED = 130


def watch_run(run: str | None, store: str | None, interval_s: float) -> FoundRun | None:
    """Shows a run until it has ended, and returns it as it is then; None where a submission's jobs began none.

    Raises:
        Exit: Ctrl-C; the run goes on.
    """
    from eibench_ray.runs.run_watch import RunWatch
    from eibench_ray.submit.submission import read_jobs

    jobs = read_jobs(Path(run)) if run is not None else []
    watch = RunWatch(None, Path(str(run)), jobs) if jobs else RunWatch(choose_run(run, store))
    try:
        if can_redraw(sys.stdout):
            _draw(watch, interval_s)
        else:
            _print(watch, interval_s)
    except KeyboardInterrupt:
        say("No longer watched; what runs goes on.", stderr=True)
        raise typer.Exit(INTERRUPTED) from None
    return watch.found


def _draw(watch: RunWatch, interval_s: float) -> None:
    """Draws it at one place until it has ended."""
    from eibench_ray.runs.cell_field import glyphs_of
    from eibench_ray.runs.view_page import draw_view

    console = open_console()

    def draw(width: int, height: int) -> Sequence[Text]:
        if (view := watch.view()) is None:
            return [Text(in_line(line)) for line in watch.queue]
        return draw_view(view, width, height, glyphs_of(console))

    with LiveScreen(console, draw) as screen:
        while not watch.has_ended:
            time.sleep(interval_s)
            watch.look()
            screen.refresh()


def _print(watch: RunWatch, interval_s: float) -> None:
    """Prints a line whenever it has changed, until it has ended."""
    from eibench_ray.runs.view_page import describe_view

    told, told_at = "", float("-inf")
    while True:
        view = watch.view()
        line = describe_view(view) if view else "; ".join(watch.queue)
        if line != told and (watch.has_ended or time.monotonic() - told_at >= LINE_EVERY_S):
            told, told_at = line, time.monotonic()
            say(in_line(line))
        if watch.has_ended:
            return
        time.sleep(interval_s)
        watch.look()

"""The live view of a run in the process that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from eibench_ray.driver.run_events import Snapshot
from eibench_ray.runs.cell_field import glyphs_of
from eibench_ray.runs.run_view import RunView
from eibench_ray.runs.view_page import draw_view
from eibench_ray.terminal.live_screen import LiveScreen


class LiveDisplay(LiveScreen):
    """A run's view on a terminal; nothing where the console is none.

    Args:
        console: the terminal.
        view: makes the run's view of now.
    """

    def __init__(self, console: Console, view: Callable[[], RunView]) -> None:
        super().__init__(console, self._draw_view)
        self._view = view
        self._glyphs = glyphs_of(console)

    def update(self, snapshot: Snapshot) -> None:  # noqa: ARG002 - the run's record has it
        """Draws the run as it is now."""
        self.refresh()

    def _draw_view(self, width: int, height: int) -> Sequence[Text]:
        return draw_view(self._view(), width, height, self._glyphs)

"""Draws the live view of a run in its middle: `draw_live.py docs/img/live.svg -- experiment=demo`.

Starts `eibench-ray run` with what stands behind the dashes, in an empty folder, and draws a state of its record as the
terminal shows it: the one in which most cells are under way.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group

from eibench_ray.errors import StoreError
from eibench_ray.runs.find_run import find_run
from eibench_ray.runs.run_view import CellPhase, RunView
from eibench_ray.runs.run_watch import RunWatch
from eibench_ray.runs.view_page import draw_view

LOOK_EVERY_S = 1.0


def watch_run(folder: Path, arguments: Sequence[str]) -> Iterator[RunView]:
    """The views of a run from its beginning to its end."""
    command = [str(Path(sys.executable).with_name("eibench-ray")), "run", *arguments]
    with subprocess.Popen(command, cwd=folder) as process:
        watch: RunWatch | None = None
        while process.poll() is None:
            time.sleep(LOOK_EVERY_S)
            if watch is None:
                try:
                    watch = RunWatch(find_run(None, str(folder / "store")))
                except StoreError:  # it has not begun
                    continue
            watch.look()
            if not watch.has_ended and (view := watch.view()) is not None:
                yield view


def count_moving(view: RunView) -> tuple[int, float]:
    """Cells under way; and of states with the same number, the one nearest to the middle is the best."""
    moving = sum(cell.state in (CellPhase.GENERATING, CellPhase.JUDGING) for cell in view.cells)
    begun = sum(0 < cell.done < cell.rows for cell in view.cells)
    return moving + begun, -abs(view.done / max(view.rows, 1) - 0.5)


def draw(view: RunView, out: Path, title: str, width: int) -> None:
    """Writes the picture of a view."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(Group(*draw_view(view, width, 30)))
    console.save_svg(str(out), title=title, unique_id="live")


def main() -> None:
    """Draws as the command line says."""
    parser = argparse.ArgumentParser(description="Draw the live view of a run as SVG.")
    parser.add_argument("out", type=Path, help="the SVG to write")
    parser.add_argument("--width", type=int, default=100, help="columns of the terminal")
    parser.add_argument("sweep", nargs="+", help="what is behind `eibench-ray run`, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        best = max(watch_run(Path(folder), args.sweep), key=count_moving)
    draw(best, args.out, f"eibench-ray run {' '.join(args.sweep)}", args.width)


if __name__ == "__main__":
    main()

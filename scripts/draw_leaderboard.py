"""Draws a run's leaderboard as the terminal shows it: `draw_leaderboard.py RUN docs/img/leaderboard.svg`.

After `make demo`, RUN is the folder that it named. The picture has no frame and no title but the command.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from rich.console import Console

from eibench_ray.report.leaderboard import render_table
from eibench_ray.runs.results import score_run
from eibench_ray.runs.run_record import read_run


def draw_leaderboard(run: Path, out: Path, *, title: str, width: int) -> None:
    """Writes the picture of a run's leaderboard."""
    manifest, status, store = read_run(run)
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(render_table(score_run(manifest, store, status.failures)))
    console.save_svg(str(out), title=title, unique_id="leaderboard")


def main() -> None:
    """Draws as the command line says."""
    parser = argparse.ArgumentParser(description="Draw a run's leaderboard as SVG.")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("out", type=Path, help="the SVG to write")
    parser.add_argument("--title", default="make demo", help="what stands above it")
    parser.add_argument("--width", type=int, default=100, help="columns of the terminal")
    args = parser.parse_args()
    draw_leaderboard(args.run, args.out, title=args.title, width=args.width)


if __name__ == "__main__":
    main()

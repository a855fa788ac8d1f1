"""The command `compare`: models, settings and judges of one run or of several against each other."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from eibench_ray.cli.console import show_files
from eibench_ray.cli.records import AsJson, run_folder


class By(StrEnum):
    """What is compared pairwise."""

    MODEL = "model"
    SETTING = "setting"


def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="The folders of one or several runs; the latest below ./multirun and ./outputs if left out.",
        ),
    ] = None,
    by: Annotated[By | None, typer.Option("--by", help="Compare only models, or only settings, pairwise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare models, settings and judges on the same samples, of one run or of several, such as before and after.

    What a name means in two runs in two ways gets the letter of its run: strict (A), strict (B). Writes the result into
    the folder of the first run.
    """
    from eibench_ray.report.comparison import render_comparison, write_comparison
    from eibench_ray.report.comparison_values import to_json
    from eibench_ray.sweep.comparing import compare_runs
    from eibench_ray.sweep.record import read_run

    folders = list(dict.fromkeys(run_folder(run) for run in runs)) if runs else [run_folder(None)]
    read = [read_run(folder) for folder in folders]
    comparison = compare_runs(
        [(manifest, store) for manifest, _, store in read], [one.value for one in ([by] if by else By)]
    )
    first, store = folders[0], read[0][2]
    paths = write_comparison(comparison, first if first.is_dir() else first.parent)
    show_files(
        paths,
        render_comparison(comparison),
        {"run_dir": str(first), "store": store.root} | to_json(comparison),
        as_json=as_json,
    )

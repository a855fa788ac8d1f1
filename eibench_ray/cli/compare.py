"""The command `compare`: models, settings and judges of a run against each other."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from eibench_ray.cli.console import show_files
from eibench_ray.cli.records import AsJson, Run, run_folder


class By(StrEnum):
    """What is compared pairwise."""

    MODEL = "model"
    SETTING = "setting"


def compare(
    run: Run = None,
    by: Annotated[By | None, typer.Option("--by", help="Compare only models, or only settings, pairwise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a run's models, settings and judges on the same samples, and write the result into the run's folder."""
    from eibench_ray.report.comparison import render_comparison, write_comparison
    from eibench_ray.report.comparison_values import to_json
    from eibench_ray.sweep.comparing import compare_run
    from eibench_ray.sweep.record import read_run

    folder = run_folder(run)
    manifest, _, store = read_run(folder)
    comparison = compare_run(manifest, store, [one.value for one in ([by] if by else By)])
    paths = write_comparison(comparison, folder if folder.is_dir() else folder.parent)
    show_files(
        paths,
        render_comparison(comparison),
        {"run_dir": str(folder), "store": store.root} | to_json(comparison),
        as_json=as_json,
    )

"""The command `compare`: models, settings and judges of one run or of several against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from eibench_ray.cli.choose_run import Anyway, InStore, Out, check_figures, choose_run, place_for
from eibench_ray.cli.console import AsJson, show_files


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="One or several runs: folders, or ids; the latest run if left out."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="model|setting|COLUMN",
            help="Compare only models, or only settings, pairwise; or also within the samples of each value of a "
            "column. May be repeated.",
        ),
    ] = None,
    family: Annotated[
        Literal["table", "all"],
        typer.Option(
            help="The lines over which p (Holm) is adjusted: those of its own table, or those of all tables together."
        ),
    ] = "table",
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Hold the judges against people's labels: JSONL or CSV with the columns id and label, and model, "
            "setting, dataset, metric where there are several.",
        ),
    ] = None,
    as_json: AsJson = False,
    store: InStore = None,
    out: Out = None,
    anyway: Anyway = False,
) -> None:
    """Compare models, settings and judges on the same samples, of one run or of several, such as before and after.

    What a name means in two runs in two ways gets the letter of its run: strict (A), strict (B). Writes the result into
    the folder of the first run.
    """
    from eibench_ray.report.comparison_page import render_comparison, write_comparison
    from eibench_ray.report.comparison_values import to_json
    from eibench_ray.runs.compare_run import compare_runs
    from eibench_ray.runs.label_file import read_labels
    from eibench_ray.scoring.cell_comparison import SIDES

    chosen = [choose_run(run, store) for run in runs] if runs else [choose_run(None, store)]
    found = list({one.manifest.id: one for one in chosen}.values())
    changes = [change for one in found for change in check_figures(one, anyway=anyway)]
    chosen_sides = [side for side in SIDES if side in (by or ())]
    columns = [column for column in by or () if column not in SIDES]
    given = read_labels(labels) if labels else None
    stored = [(one.manifest, one.store) for one in found]
    comparison = compare_runs(stored, chosen_sides or SIDES, columns, family, given)
    place = place_for(found[0], out, changes)
    show_files(
        write_comparison(comparison, place) if place else [],
        render_comparison(comparison),
        {"run_dir": str(found[0].folder), "store": found[0].store.root} | to_json(comparison),
        as_json=as_json,
    )

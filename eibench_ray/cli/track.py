"""`eibench-ray track`: sends a run's figures to its tracker."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from eibench_ray.cli.choose_run import InStore, Run, choose_run
from eibench_ray.cli.console import AsJson, say


def track(
    run: Run = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of `tracking` in the place of the run's own."),
    ] = None,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    as_json: AsJson = False,
    store: InStore = None,
) -> None:
    """Send a run's final figures to its tracker, if they are not there: what was offline, failed or disabled."""
    from eibench_ray.runs.send_run import read_options, send

    found = choose_run(run, store)
    folder = found.folder
    given = read_options(options or [])
    sending = send(found, given, is_dry=is_dry, say=lambda line: say(line, stderr=True))
    report = sending.report
    if as_json:
        typer.echo(json.dumps({"run_dir": str(folder), "dry_run": is_dry, **asdict(sending)}))
    else:
        if is_dry:
            say(f"{len(sending.reasons)} cells would be sent to {sending.place}:")
            for name, reason in sending.reasons.items():
                say(f"  {name}: {reason}")
        if report is not None:
            say(f"{len(report.sent)} cells sent to {sending.place}.")
            for name, url in report.sent.items():
                say(f"  {name}: {url}")
        if sending.num_there:
            say(f"{sending.num_there} cells are there already.")
        if sending.partial:
            say(
                f"{len(sending.partial)} cells have rows without an answer and are not sent: "
                f"{', '.join(sending.partial)}. The same `eibench-ray run` asks the rest."
            )
    if report is not None and (left := report.describe(folder)):
        say(left, stderr=True)
        raise typer.Exit(1)

"""`eibench-ray track`: sends a run's figures to its trackers."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from eibench_ray.cli.choose_run import InStore, Run, choose_run
from eibench_ray.cli.console import AsJson, say

if TYPE_CHECKING:
    from eibench_ray.runs.send_run import SentTo


def track(
    run: Run = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of `tracking` in the place of the run's own, e.g. wandb.project=NAME.",
        ),
    ] = None,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Make a dashboard of the project instead; with --dry-run only show it.")
    ] = False,
    as_json: AsJson = False,
    store: InStore = None,
) -> None:
    """Send a run's final figures to its trackers, if they are not there: what was offline, failed or disabled."""
    from eibench_ray.runs.send_run import choose_trackers, read_options, send

    found = choose_run(run, store)
    folder = found.folder
    given = read_options(options or [])
    if dashboard:
        _, kinds = choose_trackers(found, given)
        for kind in kinds.values():
            typer.echo(kind.dashboard(os.environ, is_dry=is_dry))
        return
    sending = send(found, given, is_dry=is_dry, say=lambda line: say(line, stderr=True))
    if as_json:
        typer.echo(json.dumps({"run_dir": str(folder), "dry_run": is_dry, **asdict(sending)}))
    else:
        for sent in sending.trackers.values():
            _show(sent, is_dry=is_dry)
        if sending.partial:
            say(
                f"{len(sending.partial)} cells have rows without an answer and are not sent: "
                f"{', '.join(sending.partial)}. The same `eibench-ray run` asks the rest."
            )
    reports = [sent.report for sent in sending.trackers.values() if sent.report is not None]
    if left := [text for report in reports if (text := report.describe(folder))]:
        say("\n".join(left), stderr=True)
        raise typer.Exit(1)


def _show(sent: SentTo, *, is_dry: bool) -> None:
    if is_dry:
        say(f"{len(sent.reasons)} cells would be sent to {sent.place}:")
        for name, reason in sent.reasons.items():
            say(f"  {name}: {reason}")
    if sent.report is not None:
        say(f"{len(sent.report.sent)} tracked runs sent to {sent.place}.")
        for name, url in sent.report.sent.items():
            say(f"  {name}{f': {url}' if url else ''}")
    if sent.num_there:
        say(f"{sent.num_there} cells are there already.")

"""The command `doctor`: whether this machine can run a sweep, and what to do where it cannot."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from eibench_ray.cli.console import AsJson, open_console


def doctor(
    as_json: AsJson = False,
    store: Annotated[
        str, typer.Option("--store", help="The store's root: a folder, which need not exist yet, or a bucket's URI.")
    ] = "store",
    address: Annotated[
        str | None,
        typer.Option("--address", help="A Ray cluster whose nodes are looked at, too; default: RAY_ADDRESS, or none."),
    ] = None,
) -> None:
    """Say whether this machine can run a sweep, and what to do where it cannot. Exits with 1 if a check fails."""
    from eibench_ray.cli.machine_checks import Status
    from eibench_ray.cli.machine_report import examine, to_table

    checks = examine(store, os.environ, address or os.environ.get("RAY_ADDRESS"))
    is_fit = all(check.status is not Status.FAIL for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": is_fit, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        open_console().print(to_table(checks))
    raise typer.Exit(0 if is_fit else 1)

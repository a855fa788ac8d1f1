"""The command `runs`: the runs of a store, wherever their folders lie."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eibench_ray.cli.console import AsJson, open_console, say
from eibench_ray.visible_text import in_line, list_some

if TYPE_CHECKING:
    from eibench_ray.runs.find_run import ListedRun
    from eibench_ray.terminal.fitting_table import FittingTable


_MOST_NAMES = 5


def runs(
    store: Annotated[
        str | None,
        typer.Option("--store", help="The store's root; else the stores that runs from this folder used, and ./store."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of a store: id, sweep, state, when they began, rows, folder. The latest comes first.

    `status`, `report`, `compare`, `verify` and `export` take a run's id, or its beginning, in the place of its folder.
    """
    from eibench_ray.errors import StoreError
    from eibench_ray.runs.find_run import list_runs
    from eibench_ray.runs.known_stores import known_stores
    from eibench_ray.store.slice_store import Store

    near, others = known_stores(Path())
    chosen = [store] if store is not None else near or others
    found: dict[str, Sequence[ListedRun]] = {}
    for root in chosen:
        try:
            opened = Store(root)
        except StoreError as error:
            if store is not None:
                raise
            say(in_line(f"left out: {error}"), style="yellow", stderr=True)
            continue
        if "://" not in opened.root and not Path(opened.root).is_dir():
            raise StoreError(f"--store {root}: there is no such folder")
        found[opened.root] = list_runs(opened)
    if as_json:
        rows = [_to_json(run) for listed in found.values() for run in listed]
        typer.echo(json.dumps({"stores": list(found), "runs": rows}))
        return
    if not found:
        say("No store is known here: no run was started from this folder, and there is no ./store. --store names one.")
    for root, listed in found.items():
        _show(root, listed)
    if store is None and near and others:
        say(in_line(f"Other stores that you have used: {list_some(others, _MOST_NAMES)} (--store lists one)"))


def _show(root: str, listed: Sequence[ListedRun]) -> None:
    if not listed:
        say(in_line(f"{root}: no run."))
        return
    say(in_line(f"Store: {root}"))
    open_console().print(_to_table(listed))
    for run in listed:
        if run.trouble:
            say(in_line(f"{run.id}: {run.trouble}"), style="yellow")


def _to_table(listed: Sequence[ListedRun]) -> FittingTable:
    from eibench_ray.terminal.fitting_table import Column, FittingTable

    return FittingTable(
        [
            Column("id", [run.id for run in listed], is_name=True),
            Column("sweep", [in_line(run.sweep) for run in listed], is_name=True),
            Column("state", [describe_state(run) for run in listed], is_name=True),
            Column("began", [_when(run.started_at) for run in listed], rank=2),
            Column("rows", [f"{run.rows_done:,} of {run.rows:,}" if run.rows else "-" for run in listed], rank=1),
            Column("by", [in_line(f"{run.user}@{run.host}") if run.host else "-" for run in listed], rank=3),
            Column("folder", [_folder(run) for run in listed], is_name=True),
        ]
    )


def _when(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time_s)) if time_s else "-"


def _folder(run: ListedRun) -> str:
    """The run's folder, relative where it lies below the current one."""
    if not run.folder:
        return "-"
    path = Path(run.folder)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    is_own = run.host == os.uname().nodename
    return in_line(str(shown)) + ("" if run.has_folder else " (gone)" if is_own else " (not seen from here)")


def describe_state(run: ListedRun) -> str:
    """A run's state in words."""
    state = run.state.replace("_", " ")
    silent = f", silent for {run.silent_s / 60:,.0f} min" if run.silent_s is not None else ""
    return f"{state}{silent}"


def _to_json(run: ListedRun) -> Mapping[str, Any]:
    return asdict(run)

"""Finds the run that a command is about, checks that its figures can be made again, and the place to write to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eibench_ray.cli.console import say
from eibench_ray.cli.shell_completion import complete_run
from eibench_ray.errors import StoreError
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from eibench_ray.runs.find_run import FoundRun

# Where a command writes, in the run's folder, what is not the run's own result any more.
ANYWAY_FOLDER = "anyway"

Run = Annotated[
    str | None,
    typer.Argument(
        help="The run: its folder, its id, or the beginning of its id (`eibench-ray runs` lists them); the latest one "
        "if left out.",
        autocompletion=complete_run,
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN]...",
        help="The run, or several: folders, ids, or beginnings of ids; the latest one if left out.",
        autocompletion=complete_run,
    ),
]
InStore = Annotated[
    str | None,
    typer.Option("--store", help="The run's store, where it was moved, or to find the run by its id."),
]
Anyway = Annotated[
    bool,
    typer.Option(
        "--anyway",
        help="Also where a dataset was prepared anew or rows are gone since: takes what still fits, and writes beside "
        "the run's own files, into its folder `anyway`.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="The folder to write into; the run's own, where it is left out.")
]


def choose_run(run: str | Path | None, store: str | None = None) -> FoundRun:
    """The run that a command is about: the latest one where none is named.

    Args:
        run: a run's folder or id, or the folder of a submission, whose latest run is meant.
        store: where its store lies.

    Raises:
        StoreError: there is none, or none has begun.
    """
    from eibench_ray.runs.find_run import find_run
    from eibench_ray.submit.submission import read_jobs, runs_of

    if run is not None and read_jobs(Path(run)):
        if not (runs := runs_of(Path(run))):
            raise StoreError(f"no job of {run} has begun yet: `eibench-ray status {run}` says what they wait for")
        run = runs[-1]
    return find_run(None if run is None else str(run), store)


def check_figures(found: FoundRun, *, anyway: bool) -> list[str]:
    """In what today's datasets and store differ from the run's, which is told on stderr; nothing, as a rule.

    Raises:
        DataError: they differ, and nobody wants it anyway.
    """
    from eibench_ray.runs.pinned_inputs import check_unchanged, find_changes

    if not anyway:
        check_unchanged(found.manifest, found.status, found.store)
        return []
    changes = find_changes(found.manifest, found.status, found.store)
    for change in changes:
        say(in_line(f"Not as the run was: {change}"), style="yellow", stderr=True)
    return changes


def place_for(found: FoundRun, out: Path | None, changes: list[str]) -> Path | None:
    """The folder into which a command writes; None, which is told, where the run's is gone and no other was named."""
    if out is not None:
        return out
    if not found.has_folder:
        say(
            in_line(f"Nothing was written: the run's folder {found.folder} is gone; --out FOLDER names another one"),
            style="yellow",
            stderr=True,
        )
        return None
    return found.folder / ANYWAY_FOLDER if changes else found.folder

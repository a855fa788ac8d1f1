"""The command `fsck`: what is wrong with a store, and what can be done about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eibench_ray.cli.console import AsJson, open_console, row_progress
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from eibench_ray.store.store_check import Checked, StoreFault


def fsck(
    store: Annotated[str, typer.Argument(help="The store's root, as store.root names it: a folder, s3:// or gs://.")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Do what is safe: remove unfinished writes, move unreadable slices away.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every row of a store against its manifests. Exits with 1 if a problem is left.

    Nothing is repaired that a run is working on, and no answer is ever deleted.
    """
    from eibench_ray.store.slice_store import Store
    from eibench_ray.store.store_check import check_store
    from eibench_ray.store.store_check import repair as do_repair

    opened = Store(store)
    with row_progress("Checking") as on_slice:
        checked = check_store(opened, on_slice)
    settled = do_repair(opened, checked.findings) if repair else []
    left = [finding for finding in checked.findings if finding.is_problem and finding not in settled]
    if as_json:
        typer.echo(json.dumps(_to_json(opened.root, checked, settled)))
    else:
        _print(opened.root, checked, settled, left)
    raise typer.Exit(1 if left else 0)


def _print(root: str, checked: Checked, settled: list[StoreFault], left: list[StoreFault]) -> None:
    console = open_console()
    for finding in checked.findings:
        if not finding.is_problem:
            state = "note"
        elif finding in settled:
            state = f"repaired ({finding.repair})"
        else:
            state = "safe to repair" if finding.repair else "problem"
        remedy = f" ({finding.remedy})" if finding.remedy else ""
        console.print(in_line(f"{state}: {finding.where}: {finding.what}{remedy}"), soft_wrap=True)
    looked = f"{checked.num_steps:,} steps, {checked.num_slices:,} slices, {checked.num_rows:,} rows"
    safe = sum(finding.repair is not None for finding in left)
    hint = f"; --repair settles {safe}" if safe else ""
    outcome = f"{len(left)} problems left{hint}" if left else "no problem left" if settled else "no problem"
    console.print(f"{in_line(root)}: {looked}: {outcome}.", soft_wrap=True)


def _to_json(root: str, checked: Checked, settled: list[StoreFault]) -> dict[str, Any]:
    return {
        "store": root,
        "steps": checked.num_steps,
        "slices": checked.num_slices,
        "rows": checked.num_rows,
        "findings": [
            {
                "where": finding.where,
                "what": finding.what,
                "remedy": finding.remedy,
                "is_problem": finding.is_problem,
                "repair": finding.repair,
                "repaired": finding in settled,
            }
            for finding in checked.findings
        ],
    }

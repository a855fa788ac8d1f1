"""The command `gc`: what no run needs of a store, and its removal."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated

import typer

from eibench_ray.cli.console import AsJson, say
from eibench_ray.visible_text import in_line

_MB = 1_000_000


def gc(
    store: Annotated[str, typer.Argument(help="The store's root, as store.root names it: a folder, s3:// or gs://.")],
    delete: Annotated[bool, typer.Option("--delete", help="Delete it. Without, it is only listed.")] = False,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            "--forget",
            metavar="RUN",
            help="The id of a run that nobody needs any more: its record goes, too, with the steps that only it needs. "
            "Its own folder stays. May be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what no run of a store needs, such as the answers of steps that no run names; --delete removes it.

    Nothing goes that a run has locked, or that any other run names. Answers that are gone are asked again by the next
    run that needs them.
    """
    from eibench_ray.runs.unneeded import find_unneeded, remove_unneeded
    from eibench_ray.store.slice_store import Store

    opened, forgotten = Store(store), list(dict.fromkeys(forget or ()))
    found = find_unneeded(opened, forgotten)
    if delete and found:
        remove_unneeded(opened, found, forgotten)
    num_bytes = sum(one.num_bytes for one in found)
    if as_json:
        parts = [{"what": one.what, "name": one.name, "files": len(one.files), "bytes": one.num_bytes} for one in found]
        typer.echo(json.dumps({"store": opened.root, "deleted": delete, "bytes": num_bytes, "unneeded": parts}))
        return
    for one in found:
        size = f"{len(one.files):,} file{'s' if len(one.files) != 1 else ''}, {one.num_bytes / _MB:,.1f} MB"
        say(in_line(f"{one.what}: {one.name}: {size}"))
    if not found:
        say(in_line(f"{opened.root}: its runs need all that is there."))
        return
    kinds = ", ".join(f"{number:,} x {what}" for what, number in Counter(one.what for one in found).items())
    done = "deleted" if delete else "nothing was deleted: --delete does"
    say(in_line(f"{opened.root}: no run needs {kinds}; {num_bytes / _MB:,.1f} MB in all; {done}."))

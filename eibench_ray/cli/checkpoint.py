"""`eibench-ray prepare checkpoint NAME`: builds one of the small checkpoints."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from eibench_ray.cli.console import AsJson
from eibench_ray.weights.recipes import NAMES


def checkpoint(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    as_json: AsJson = False,
) -> None:
    """Build a small checkpoint for demos and tests, and print its folder."""
    from eibench_ray.weights.build import build_checkpoint
    from eibench_ray.weights.content_identity import identity

    folder = build_checkpoint(name)
    if as_json:
        typer.echo(json.dumps({"name": name, "folder": str(folder), "identity": identity(folder)}))
    else:
        typer.echo(folder)

"""The terminal that the commands write to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType

# What is narrower cuts the leaderboard's columns off; rich takes 80 for a pipe.
MIN_WIDTH = 110


def open_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, wide enough for the tables where it is no terminal."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=max(console.width, MIN_WIDTH))


def show_files(paths: Sequence[Path], page: RenderableType, values: Mapping[str, Any], *, as_json: bool) -> None:
    """What a command has written: for people the page and the files' paths, for programs the values with them."""
    files = [str(path) for path in paths]
    if as_json:
        typer.echo(json.dumps({**values, "files": files}))
        return
    console = open_console()
    console.print(page)
    console.print("\n".join(files), highlight=False, soft_wrap=True)

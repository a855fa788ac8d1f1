"""The terminal that the commands write to."""

from __future__ import annotations

from rich.console import Console

# What is narrower cuts the leaderboard's columns off; rich takes 80 for a pipe.
MIN_WIDTH = 110


def open_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, wide enough for the tables where it is no terminal."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=max(console.width, MIN_WIDTH))

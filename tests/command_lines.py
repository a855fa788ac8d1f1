"""Command lines of processes that come and go."""

from __future__ import annotations

import psutil


def command_line(process: psutil.Process) -> str:
    """The process's command line; empty where it has ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def children_named(parent: psutil.Process, name: str) -> list[psutil.Process]:
    """All processes below one that have a name in their command line."""
    return [child for child in parent.children(recursive=True) if name in command_line(child)]

"""The log of W&B's service, which names what it could not send and ends the run as if nothing had been."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Errors in the log of W&B's service that say nothing about the data: a server without a list of features; an answer
# that is tried again, or whose consequence has a line of its own.
_HARMLESS = ("featurechecker", "api: HTTP error")


def read_troubles(folder: Path, *, only_lost: bool = False) -> list[str]:
    """Troubles that a run's own log names, without repetitions.

    Args:
        folder: of the run.
        only_lost: leave out what was tried again.
    """
    found = []
    for entry in _read_log(folder / "logs" / "debug-internal.log"):
        level, message = str(entry.get("level", "")), str(entry.get("msg", ""))
        if level.startswith("ERROR") and not message.startswith(_HARMLESS):
            found.append(message)
        elif message.startswith("api: retrying") and not only_lost:
            found.append(" ".join(str(entry.get(name, "")) for name in ("error", "status", "url")).strip())
    return list(dict.fromkeys(" ".join(text.split()) for text in found))


def _read_log(path: Path) -> Iterator[Mapping[str, Any]]:
    """The entries of a log of JSON lines; nothing where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            if isinstance(entry := json.loads(line), dict):
                yield entry

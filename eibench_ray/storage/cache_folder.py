"""The user's folder for what can be made again at any time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`eibench_ray` under $XDG_CACHE_HOME or ~/.cache; it may not be there yet."""
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "eibench_ray"

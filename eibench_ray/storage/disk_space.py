"""The room on disks, asked before anything is made there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def nearest_folder(path: Path) -> Path:
    """The path itself, or the nearest of its parents that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if os.access(folder, os.F_OK))


def free_bytes(path: Path) -> int:
    """Bytes that are free on the disk where a path is, or would be."""
    return shutil.disk_usage(nearest_folder(path)).free

"""Locks of files: the kernel lets go of one when its process dies, so none is ever stale."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file for the block; waits for whoever has it.

    Raises:
        OSError: it cannot be made, or its file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_here(name: str, folder: Path) -> Iterator[None]:
    """Holds what is done once per node, and, where the file system can, once per folder.

    The node's lock lies in its temporary folder and always holds. That of a folder which several nodes share may fail,
    or hold nothing (some network file systems say yes to everybody): then nodes may do the same at once.
    """
    mine = Path(tempfile.gettempdir()) / f"eibench_ray-{os.getuid()}"
    with ExitStack() as stack:
        stack.enter_context(locked(mine / f"{name}.lock"))
        with suppress(OSError):
            stack.enter_context(locked(folder / ".locks" / f"{name}.lock"))
        yield

"""Locks of files: the kernel lets go of one when its process dies, so none is ever stale."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from eibench_ray.storage.cache_folder import cache_folder
from eibench_ray.storage.scratch_folders import NotOwnError, own_folder

# The same for all that this user runs on a node, whatever its jobs call TMPDIR.
_OF_NODE = Path("/tmp")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file for the block; waits for whoever has it. A link in its place is not followed.

    Raises:
        OSError: it cannot be made, or its file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_here(name: str, folder: Path) -> Iterator[None]:
    """Holds what is done once per node and user, and, where the file system can, once per folder.

    The node's lock always holds. That of a folder which several nodes share may fail, or hold nothing (some network
    file systems say yes to everybody): then nodes may do the same at once.
    """
    with ExitStack() as stack:
        stack.enter_context(locked(locks_of_node() / f"{name}.lock"))
        with suppress(OSError):
            stack.enter_context(locked(folder / ".locks" / f"{name}.lock"))
        yield


def locks_of_node(base: Path = _OF_NODE) -> Path:
    """This user's folder for the locks of this node.

    Where somebody else has taken its name, it lies in the user's own cache: nobody can keep another from working.
    """
    try:
        return own_folder(base / f"eibench_ray-{os.getuid()}")
    except (NotOwnError, PermissionError):
        cache = cache_folder() / "locks"
        cache.mkdir(parents=True, exist_ok=True)
        return own_folder(cache / os.uname().nodename)

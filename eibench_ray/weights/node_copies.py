"""Copies of checkpoints on a node's own disk: made once, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eibench_ray.storage.disk_space import free_bytes
from eibench_ray.storage.scratch_folders import NotOwnError, is_trusted_tree, own_folder
from eibench_ray.weights.file_locks import locked_here

GB = 1e9
# One stream of a network file system is slower than the disk; shards are copied beside each other.
NUM_STREAMS = 4


def copy_folder(source: Path, names: Sequence[str], target: Path, report: Callable[[str], None]) -> Path:
    """The copy of a checkpoint's files, made where it is not there yet; of several processes, one copies.

    What another user has put there is not used: then the copy has this user's number in its name.

    Args:
        source: the checkpoint's folder; links in it are followed.
        names: of the files that are loaded.
        target: the copy's folder; its name says what it holds.
        report: is told how far it is, in words.

    Raises:
        OSError: a file cannot be read or written, has changed meanwhile, or the disk is too small.
    """
    target = _trusted(target)
    if target.is_dir():
        return target
    with locked_here(target.name, target.parent):
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # what a killed copy left
        own_folder(partial)
        sizes = {name: (source / name).stat().st_size for name in names}
        total, free = sum(sizes.values()), free_bytes(target.parent)
        if total > free:
            raise OSError(f"{total / GB:.1f} GB are to be copied, and {target.parent} has {free / GB:.1f} GB free")
        done = 0
        with ThreadPoolExecutor(NUM_STREAMS) as streams:
            copied = streams.map(lambda name: _copy(source / name, partial / name), sizes)
            for (name, size), copied_size in zip(sizes.items(), copied, strict=True):
                if copied_size != size:
                    raise OSError(f"{source / name} changed while it was copied")
                done += size
                report(f"{done / GB:.1f} of {total / GB:.1f} GB")
        partial.chmod(0o755)
        partial.rename(target)
    return target


def _trusted(target: Path) -> Path:
    """The folder, if it is not there or all in it is this user's or root's; else one with this user's number."""
    if not os.path.lexists(target) or is_trusted_tree(target):
        return target
    own = target.with_name(f"{target.name}--{os.getuid()}")
    if os.path.lexists(own) and not is_trusted_tree(own):
        raise NotOwnError(f"{target} and {own} hold what another user has put there, or may change")
    return own


def _copy(source: Path, target: Path) -> int:
    """Bytes of the copy, once they are on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return target.stat().st_size

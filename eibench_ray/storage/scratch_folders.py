"""Folders of one user where all users may write: private, never somebody else's, and gone when their run is.

with scratch_folder(os.environ) as folder:   # /tmp/eib-x7k2m9qa, mode 0700
    ...                                      # Ray's sockets and logs, temporary files of engines
# gone; what a killed run has left goes when the next one starts
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from eibench_ray.errors import ClusterError

log = logging.getLogger(__name__)

PREFIX = "eib-"
LOCK_FILE = ".lock"
# Set to 1, it keeps all that Ray and its workers have written, for who looks for a fault in them.
KEEP_VARIABLE = "EIBENCH_KEEP_RAY_LOGS"
# Ray's own folder in one. Ray opens what it is told to use to all users: it must not be the private folder itself.
RAY_FOLDER = "r"
# A socket's path has at most 107 bytes, of which Ray needs 65 below its folder
# (/session_2026-11-29_18-58-54_239461_4194304/sockets/plasma_store).
MAX_BASE_BYTES = 107 - 65 - len(f"/{PREFIX}12345678/{RAY_FOLDER}")
# Processes of Ray that are about to end may write for a moment.
REMOVE_TIMEOUT_S = 5.0
_DEFAULT = "/tmp"
# What no shell and no command line reads as anything else; Ray hands its folder through both.
_PLAIN = re.compile(r"/[\w.,+@%=:/-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Base:
    """Parent of temporary folders."""

    path: Path
    passed_over: str = ""  # why it is not what TMPDIR names, in words; empty where it is, or TMPDIR names nothing


class NotOwnError(OSError):
    """A folder or a file that belongs to somebody else, or that somebody else can exchange."""


@contextlib.contextmanager
def scratch_folder(environ: Mapping[str, str]) -> Iterator[Path]:
    """A folder for the block that nobody else can enter, short enough for sockets.

    What runs that were killed have left beside it is removed first.

    Raises:
        ClusterError: there is no place for one.
    """
    base = find_base(environ)
    if base.passed_over:
        log.warning("%s: using %s; RAY_TMPDIR=FOLDER names another", base.passed_over, base.path)
    with private_folder(base.path, is_kept=environ.get(KEEP_VARIABLE) == "1") as folder:
        yield folder


@contextlib.contextmanager
def private_folder(base: Path, *, is_kept: bool = False) -> Iterator[Path]:
    """A folder of mode 700 for the block.

    Args:
        base: in which it is made; what killed processes have left there goes first.
        is_kept: whether it stays.

    Raises:
        ClusterError: it cannot be made.
    """
    clear_dead(base)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    except OSError as error:
        raise ClusterError(
            f"no temporary folder can be made in {base} ({error.strerror}): free some space there, or export "
            f"TMPDIR=FOLDER with a short path on this machine's own disk"
        ) from error
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, os.uname().nodename.encode())  # only now: who finds it empty does not know that it is dead
        yield folder
    finally:
        if is_kept:
            os.ftruncate(lock, 0)  # nobody takes it for left behind
            log.warning("%s=1: what is in %s stays there until you remove it", KEEP_VARIABLE, folder)
        else:
            remove(folder)
        os.close(lock)


def find_base(environ: Mapping[str, str]) -> Base:
    """Finds the parent of temporary folders: RAY_TMPDIR, TMPDIR where Ray can use it, or /tmp.

    Raises:
        ClusterError: RAY_TMPDIR cannot be used, or nothing can.
    """
    if chosen := environ.get("RAY_TMPDIR"):
        if reason := find_flaw(chosen):
            raise ClusterError(
                f"RAY_TMPDIR={chosen} cannot be used: {reason}; export RAY_TMPDIR=/tmp, or another short path on this "
                f"machine's own disk that you may write to"
            )
        return Base(Path(chosen))
    passed_over = ""
    if given := environ.get("TMPDIR"):
        if not (reason := find_flaw(given)):
            return Base(Path(given))
        passed_over = f"TMPDIR={given} is not used for Ray ({reason})"
    if reason := find_flaw(_DEFAULT):
        raise ClusterError(
            f"there is no temporary folder for Ray: {_DEFAULT}: {reason}; export RAY_TMPDIR=FOLDER with a short path "
            f"on this machine's own disk that you may write to"
        )
    return Base(Path(_DEFAULT), passed_over)


def find_flaw(base: str) -> str:
    """The reason why Ray's folder cannot be made in a folder; empty where it can."""
    size = len(os.fsencode(base.rstrip("/")))
    if size > MAX_BASE_BYTES:
        return f"its path has {size} bytes, and the path of Ray's sockets below it leaves room for {MAX_BASE_BYTES}"
    if not _PLAIN.fullmatch(base):
        return "its path is not absolute, or has blanks or other characters that Ray cannot pass on"
    try:
        status = Path(base).stat()
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISDIR(status.st_mode):
        return "it is no folder"
    if not os.access(base, os.W_OK | os.X_OK):
        return "you may not write to it"
    if status.st_uid not in (0, os.getuid()):
        return f"it belongs to another user (uid {status.st_uid}), who could exchange what is in it"
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return "all users may exchange what is in it (its mode lacks the sticky bit)"
    return ""


def clear_dead(base: Path) -> None:
    """Removes the folders of this user's runs on this machine that are provably over."""
    for folder in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if is_own_folder(folder):
                _clear_if_dead(folder)


def is_own_folder(folder: Path) -> bool:
    """Whether this is a folder, no link to one, that belongs to this user and that nobody else may change."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def is_trusted_tree(folder: Path) -> bool:
    """Whether a folder and all in it are this user's or root's, without links, and nobody else may change them."""
    return all(
        not stat.S_ISLNK(status.st_mode) and status.st_uid in (0, os.getuid()) and not status.st_mode & stat.S_IWOTH
        for status in (path.lstat() for path in (folder, *folder.rglob("*")))
    )


def own_folder(folder: Path) -> Path:
    """The folder, made for this user alone where it is not there.

    Raises:
        NotOwnError: somebody else has made it.
        OSError: it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        kind = "a link" if stat.S_ISLNK(status.st_mode) else f"uid {status.st_uid}'s"
        raise NotOwnError(f"{folder} is {kind}, not a folder of uid {os.getuid()}")
    if status.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def remove(folder: Path) -> None:
    """Removes a folder; what processes that end just now write into it, too. What cannot be removed is left."""
    deadline = time.monotonic() + REMOVE_TIMEOUT_S
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > deadline:
            log.warning("the temporary folder %s could not be removed: the next run tries again", folder)
            return
        time.sleep(0.05)


def _clear_if_dead(folder: Path) -> None:
    """Removes a folder whose lock nobody on this machine holds and whose name no process has."""
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its run is there
        if os.read(lock, 256).decode(errors="replace").strip() == os.uname().nodename and not _is_used(folder):
            remove(folder)
    finally:
        os.close(lock)


def _is_used(folder: Path) -> bool:
    """Whether a process of this user still works with it."""
    name = str(folder)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("TMPDIR") == name or any(name in word for word in process.cmdline()):
                return True
    return False

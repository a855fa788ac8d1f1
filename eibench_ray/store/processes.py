"""Processes as another process can tell of them: which one it is, and whether it lives. Not to be seen is not dead.

Another user's process cannot be seen where `/proc` is mounted with `hidepid`, and one of another machine or container
not at all. The kernel tells who may not see a process at least that there is one (`kill` with signal 0), but not
whether it is the same one or another that has got its number since.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Life(StrEnum):
    """Whether a process lives, as far as it can be told from here."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told from all others that have, or had, its number."""

    host: str
    kernel: str  # boot and namespaces: where `pid` and `started` mean something. Empty where that is not known.
    pid: int
    started: int  # when it began, in clock ticks since the machine started


def this_process() -> ProcessId:
    """The process that calls."""
    pid = os.getpid()
    started = _read_start(pid)
    return ProcessId(os.uname().nodename, this_kernel() if started else "", pid, started or 0)


def find_life(process: ProcessId) -> Life:
    """Whether a process lives.

    Told by the kernel whether there is a process of that number, and by `/proc` whether it is the same one:

        kill(pid, 0)    /proc/<pid>/stat              life
        no process      -                             dead
        any other       the same start, no zombie     alive
        any other       another start, or a zombie    dead: its number was given away, or it has ended
        any other       not to be seen                unknown: another user's, behind hidepid
    """
    if process.pid < 1 or not process.kernel or process.kernel != this_kernel():
        return Life.UNKNOWN
    return _judge(process, _exists, _read_start)


def _judge(process: ProcessId, exists: Callable[[int], bool], read_start: Callable[[int], int | None]) -> Life:
    if not exists(process.pid):
        return Life.DEAD
    started = read_start(process.pid)
    if started is None:
        # It may have gone between the two looks.
        return Life.UNKNOWN if exists(process.pid) else Life.DEAD
    return Life.ALIVE if started == process.started else Life.DEAD


def this_kernel() -> str:
    """This boot and the namespaces in which processes are counted and timed; empty where they cannot be told."""
    try:
        if Path("/proc/self").readlink().name != str(os.getpid()):
            return ""  # /proc is that of another namespace, in which numbers mean others
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        spaces = [str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("pid", "time") if _has_namespace(name)]
    except OSError:
        return ""
    return " ".join([boot, *spaces])


def _has_namespace(name: str) -> bool:
    return name == "pid" or os.path.lexists(f"/proc/self/ns/{name}")  # Linux before 5.6 knows none of time


def _exists(pid: int) -> bool:
    """Whether there is a process of that number, whoever it belongs to."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # EPERM: there is one, of another user
        return True
    return True


def _read_start(pid: int) -> int | None:
    """Start of a process in clock ticks since boot, which no change of the clock moves; None: not to be seen.

    A zombie, which has ended, began at -1.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return -1 if fields[0] in "ZX" else int(fields[19])

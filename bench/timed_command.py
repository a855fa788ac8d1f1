"""Wall time of commands, and the CPU time of every process that comes of them, wherever it ends up in the tree."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

# Inherited by all processes that come of a command: Ray's are no children of it any more.
_MARK = "EIBENCH_BENCH_MARK"
_POLL_S = 0.5


@dataclass(slots=True)
class Timing:
    """Seconds of one system from its first command to its last, and the machine's load meanwhile."""

    s: float = 0.0
    cpu_s: float = 0.0
    load: float = 0.0  # 1-minute load average at the end
    commands: list[float] = field(default_factory=list)  # wall time of each command, s


@contextmanager
def timed() -> Iterator[tuple[Timing, dict[str, str]]]:
    """A timing that is filled in at the end, and the environment whose processes it counts."""
    mark, timing = uuid.uuid4().hex, Timing()
    seen: dict[int, float] = {}
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(mark, seen, over), daemon=True)
    watcher.start()
    started = time.perf_counter()
    try:
        yield timing, {**os.environ, _MARK: mark}
    finally:
        timing.s = round(time.perf_counter() - started, 2)
        over.set()
        watcher.join()
        timing.cpu_s = round(sum(seen.values()), 2)
        timing.load = round(os.getloadavg()[0], 2)


def run_command(command: Sequence[str | Path], environment: Mapping[str, str], log: Path, timing: Timing) -> None:
    """Runs a command, whose output goes to a file.

    Raises:
        SystemExit: it failed; its last lines are shown.
    """
    started = time.perf_counter()
    with log.open("ab") as output:
        done = subprocess.run(
            [str(part) for part in command], env=dict(environment), stdout=output, stderr=output, check=False
        )
    timing.commands.append(round(time.perf_counter() - started, 2))
    if done.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])
        raise SystemExit(f"{' '.join(str(part) for part in command[:4])} .. ended with {done.returncode}:\n{tail}")


def _watch(mark: str, seen: dict[int, float], over: threading.Event) -> None:
    known: dict[int, psutil.Process | None] = {}
    while not over.is_set():
        for pid in psutil.pids():
            if pid not in known:
                known[pid] = _if_marked(pid, mark)
            if (process := known[pid]) is not None:
                with contextlib.suppress(psutil.Error):
                    used = process.cpu_times()
                    seen[pid] = used.user + used.system
        over.wait(_POLL_S)


def _if_marked(pid: int, mark: str) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.environ().get(_MARK) == mark:
            return process
    return None

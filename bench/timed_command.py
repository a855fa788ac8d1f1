"""Wall time of commands, and the CPU time of every process that comes of them, wherever it ends up in the tree."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

# Inherited by all processes that come of a command: Ray's are no children of it any more.
_MARK = "EIBENCH_BENCH_MARK"
_POLL_S = 0.5
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


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
    seen: dict[tuple[int, str], float] = {}
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


def _watch(mark: str, seen: dict[tuple[int, str], float], over: threading.Event) -> None:
    """Reads the CPU time of all marked processes; a number that the kernel gives again is another process."""
    marked: set[tuple[int, str]] = set()
    num_looks: Counter[tuple[int, str]] = Counter()
    while not over.is_set():
        for pid in psutil.pids():
            try:
                fields = (
                    Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                )
                process = (pid, fields[19])  # when it started
                # Looked at twice: until it has become another program, a new process has its parent's variables.
                if process not in marked and num_looks[process] < 2:
                    num_looks[process] += 1
                    if f"{_MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                        marked.add(process)
            except (OSError, IndexError):  # it has ended, or is another user's
                continue
            if process in marked:
                seen[process] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
        over.wait(_POLL_S)

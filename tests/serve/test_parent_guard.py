"""The guard leaves nothing of its command behind, however its parent or the command ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

# Starts a child that would live on without it, and ends in order when it is asked to.
SERVER = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), sys.exit(3)))
print("up", flush=True)
time.sleep(60)
"""


class Guarded:
    """A guard that runs the server, from its parent's side."""

    def __init__(self) -> None:
        self.guard = subprocess.Popen(
            [sys.executable, "-m", "eibench_ray.serve.parent_guard", sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.guard.stdin is not None
        assert self.guard.stdout is not None
        assert self.guard.stderr is not None
        self.stdin, self.reports, self.output = self.guard.stdin, self.guard.stdout, self.guard.stderr
        word, pid = self.reports.readline().split()
        assert word == "pid"
        assert self.output.readline() == "up\n"
        self.server = psutil.Process(int(pid))
        self.family = [self.server, *self.server.children(recursive=True)]

    def left(self, timeout_s: float = 20.0) -> list[psutil.Process]:
        _, alive = psutil.wait_procs(self.family, timeout=timeout_s)
        return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    started = Guarded()
    yield started
    for process in started.family:
        if process.is_running():
            process.kill()
    for stream in (started.stdin, started.reports, started.output):
        stream.close()


def test_it_is_no_child_of_its_parent(guarded: Guarded) -> None:
    assert guarded.guard.wait(timeout=20) == 0
    guard = guarded.server.parent()
    assert guard is not None
    assert guard.ppid() != psutil.Process().pid
    assert len(guarded.family) == 2


def test_a_parent_that_dies_takes_all_of_it_along(guarded: Guarded) -> None:
    guarded.stdin.close()  # as the kernel does when the parent is killed
    assert guarded.left() == []
    assert guarded.reports.read() == "exit -9\n"


def test_asked_to_end_it_ends_in_order(guarded: Guarded) -> None:
    guarded.stdin.write("stop\n")
    guarded.stdin.flush()
    assert guarded.left() == []
    assert guarded.output.read() == "bye\n"
    assert guarded.reports.read() == "exit 3\n"


def test_a_server_that_is_killed_leaves_no_child(guarded: Guarded) -> None:
    guarded.server.kill()
    assert guarded.left() == []
    assert guarded.reports.read() == "exit -9\n"

"""Processes of a replica end with it, even where nobody is left to end them, and they hide whose they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil

REPLICA = """
import os, subprocess, sys, time
if sys.argv[1] == "leads":
    os.setpgrp()
from eibench_ray.worker.process_guard import guard_group
guard = guard_group()
hidden = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={}, stdout=subprocess.DEVNULL)
print(hidden.pid, guard.pid if guard else 0, flush=True)
time.sleep(600)
"""


def start(how: str) -> tuple[subprocess.Popen[str], int, int]:
    """A process that has started another one: it, the other one's pid, and its guard's."""
    replica = subprocess.Popen([sys.executable, "-c", REPLICA, how], stdout=subprocess.PIPE, text=True)
    assert replica.stdout is not None
    hidden, guard = map(int, replica.stdout.readline().split())
    return replica, hidden, guard


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_a_killed_process_has_started_is_killed_with_it() -> None:
    replica, hidden, guard = start("leads")
    assert psutil.pid_exists(hidden)
    replica.kill()
    replica.communicate()
    wait_until_gone(hidden, guard)


def test_a_group_of_somebody_else_is_left_alone() -> None:
    replica, hidden, guard = start("follows")
    assert guard == 0
    replica.kill()
    replica.communicate()
    assert psutil.pid_exists(hidden)
    os.kill(hidden, signal.SIGKILL)
    wait_until_gone(hidden)

"""`bench.timed_command`: the CPU time of all that comes of a command, also of what has left its process tree."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.timed_command import Timing, run_command, timed

# Stays for a while when it is done, so that it is seen.
BURN = """
import pathlib, sys, time
while time.process_time() < 1: pass
pathlib.Path(sys.argv[1]).touch()
time.sleep(1.5)
"""
# The child is in a session of its own, and its parent ends before it.
LEAVE = (
    f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {BURN!r}, sys.argv[1]], start_new_session=True)"
)
WAIT = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.1)\ntime.sleep(1)"


def test_cpu_of_a_process_that_has_left_its_parent_counts(tmp_path: Path) -> None:
    with timed() as (timing, environment):
        for code in (LEAVE, WAIT):
            run_command([sys.executable, "-c", code, tmp_path / "done"], environment, tmp_path / "log", timing)
    assert len(timing.commands) == 2
    assert timing.s == pytest.approx(sum(timing.commands), abs=0.5)
    assert timing.cpu_s > 0.9


def test_a_command_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('why it failed'); raise SystemExit(3)"]
    with pytest.raises(SystemExit, match="ended with 3:\nwhy it failed"):
        run_command(command, os.environ, tmp_path / "log", Timing())

"""A real run in a terminal: the grid is drawn, other shells watch it, and Ctrl-C leaves the terminal as it was.

It takes half a minute or more: the claim is about real processes, and one run serves all of it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

EIBENCH_RAY = Path(sys.executable).with_name("eibench-ray")
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"
SWEEP = [
    *("run", "-m", "model=echo", "judge=echo", "dataset=demo", "tracking=none", "cluster.num_cpus=2"),
    *("setting=user_question,user_question_caption", "store.slice_rows=4", "report.html=false"),
    *("model.engine.load_s=4", "model.engine.latency_s=2", "model.engine.max_num_seqs=2"),  # longer than anybody looks
]


@dataclass
class Terminal:
    """A command in a terminal of its own, and all that it has written there."""

    process: subprocess.Popen[bytes]
    master: int
    before: list[object]
    written: bytes = b""

    def read_until(self, pattern: str, timeout_s: float) -> str:
        """The output without its control sequences, once the pattern is found in it."""
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, text := plain(self.written)):
            assert time.monotonic() < deadline, f"no {pattern!r} within {timeout_s:g} s in {text[-4000:]}"
            self.read(0.2)
        return text

    def read(self, timeout_s: float) -> bool:
        """Takes in what is written; False where nothing comes any more."""
        if not select.select([self.master], [], [], timeout_s)[0]:
            return True
        try:
            more = os.read(self.master, 1 << 16)
        except OSError:  # the other end is closed
            return False
        self.written += more
        return bool(more)

    def end(self, timeout_s: float) -> int:
        """The exit code, once all is read."""
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.1)
        code = self.process.wait(max(0.1, deadline - time.monotonic()))
        while select.select([self.master], [], [], 0.1)[0] and self.read(0.1):
            pass
        return code


def plain(written: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode(errors="replace"))


@contextmanager
def in_terminal(
    arguments: Sequence[object],
    folder: Path,
    *,
    columns: int = 100,
    lines: int = 30,
    term: str = "xterm-256color",
    variables: Mapping[str, str] = {},
) -> Iterator[Terminal]:
    """The command in a terminal; it is ended with the block."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [EIBENCH_RAY, *map(str, arguments)],
        cwd=folder,
        env=environment | {"TERM": term, "PYTHONUTF8": "1"} | variables,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that ^C is a signal there
    )
    terminal = Terminal(process, master, termios.tcgetattr(slave))
    try:
        yield terminal
        assert termios.tcgetattr(slave) == terminal.before
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        os.close(slave)
        os.close(master)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Terminal, Terminal, str]]:
    """A run that Ctrl-C has ended, the terminal in which it was watched, and what a watcher without one was told."""
    folder = tmp_path_factory.mktemp("shown")
    with in_terminal(SWEEP, folder) as run:
        run.read_until(r"run \S+ of sweep", 120)
        with in_terminal(["status", "--watch", "--interval", "0.5"], folder, columns=80, lines=24) as watch:
            told = subprocess.Popen(
                [EIBENCH_RAY, "status", "--watch"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            try:
                run.read_until(r"1 generating", 180)
                watch.read_until(r"1 generating", 60)
                fcntl.ioctl(run.master, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
                size = len(run.written)
                # A terminal drops what nobody has read at ^C: so all of the smaller page, from the cursor on.
                while b"rows/s" not in run.written[size:].rpartition(HIDE)[2]:
                    assert run.read(30)
                os.write(run.master, b"\x03")
                assert run.end(120) == 130
                assert watch.end(60) == 0
                lines = told.communicate(timeout=60)[0].decode()
                assert told.returncode == 0
            finally:
                told.kill()
            yield run, watch, lines


def test_a_terminal_shows_cells_engines_rates_and_time_left(shown: tuple[Terminal, Terminal, str]) -> None:
    text = plain(shown[0].written)
    assert re.search(r"demo · echo +user_question +user_question_caption", text)
    assert re.search(r"echo \(made up\) +\S+ +\d+% ", text)
    assert re.search(r"[\d.-]+ rows/s   [\d.-]+ tokens/s   0 errors", text)
    assert re.search(r"running \d+ s, left ", text)
    assert "waiting: the engine to load" in text or "1 loading" in text


def test_ctrl_c_leaves_the_terminal_as_it_was(shown: tuple[Terminal, Terminal, str]) -> None:
    for terminal in shown[:2]:
        assert terminal.written.count(HIDE) == terminal.written.count(SHOW) > 0
        assert terminal.written.rfind(SHOW) > terminal.written.rfind(HIDE)
        assert b"\x1b[?1049h" not in terminal.written, "what was there before stays to be read"
    text = " ".join(plain(shown[0].written).split())
    assert "SIGINT: committing what is done; once more to stop at once" in text
    after = text[text.rindex("rows/s") :]
    assert "Ended early by Ctrl-C: what was done is committed." in after
    assert re.search(
        r" Log: \S+/run.log Run: \S+ Store: \S+ Next: eibench-ray status multirun/\S+ \(how far it is\)", after
    )


def test_a_watcher_sees_the_same_and_ends_with_the_run(shown: tuple[Terminal, Terminal, str]) -> None:
    text = plain(shown[1].written)
    assert re.search(r"running \d+ s, left ", text)
    assert "): interrupted. " in text[text.rindex("rows/s") :]


def test_a_watcher_without_a_terminal_gets_lines(shown: tuple[Terminal, Terminal, str]) -> None:
    lines = shown[2]
    assert re.search(r"^\d+ of 96 rows \(\d+%\), ", lines, re.MULTILINE)
    assert "): interrupted. " in lines
    assert "\x1b" not in lines

"""A real run in a terminal: the grid is drawn, other shells and a browser watch it, and Ctrl-C leaves all in order.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import psutil
import pytest

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
EIBENCH_RAY = Path(sys.executable).with_name("eibench-ray")
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"
COLOURS = re.compile(rb"\x1b\[(?:\d+;)*(?:[34]\d|9[0-7]|10[0-7])[\d;]*m")
SWEEP = [
    *("run", "-m", "model=echo", "judge=echo", "dataset=demo", "tracking=none", "cluster.num_cpus=2"),
    *("setting=user_question,user_question_caption", "store.slice_rows=2", "report.html=false"),
    *("model.engine.load_s=4", "model.engine.latency_s=1", "model.engine.max_num_seqs=2"),
    "judge.repeats=2",  # it takes longer than anybody looks
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


@dataclass
class Browsed:
    """The page of a run that `view` shows in Chromium, and what was seen of it.

    Attributes:
        first: how many samples the page had at first.
        complaints: what the browser's console said.
        ended: the exit code of `view` after Ctrl-C, and what it printed then.
    """

    tab: Any
    lines: list[str]
    first: str = ""
    url: str = ""
    state: str = ""
    complaints: tuple[str, ...] = ()
    ended: tuple[int, str] | None = None

    def coverage(self) -> str:
        """The line of the page that says how many samples it has; empty until it is loaded."""
        from playwright.sync_api import Error

        line = self.tab.frame_locator("#page").locator("#head").get_by_text(re.compile(r"of 48 samples of all cells"))
        try:
            return "".join(line.all_inner_texts())
        except Error as error:  # it was looked at while it was loaded anew
            if "context was destroyed" not in str(error):
                raise
            return ""

    def text(self, part: str) -> str:
        """The text of a part of the frame around the page."""
        return str(self.tab.locator(part).inner_text())


@contextmanager
def in_browser(folder: Path) -> Iterator[Browsed | None]:
    """The page of the run in `folder`, opened from the list of runs; None where nothing drives a browser."""
    if CHROMIUM is None or find_spec("playwright") is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    command = [EIBENCH_RAY, "view", "store", "--no-open"]
    view = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        assert view.stdout is not None
        lines = [view.stdout.readline() for _ in range(3)]
        [url] = re.findall(r"http://127\.0\.0\.1:\d+/\?token=\S+", "".join(lines))
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            tab = browser.new_page()
            said: list[str] = []
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.goto(url)
            tab.get_by_role("link", name=re.compile(r"\d{8}-")).click()
            browsed = Browsed(tab, lines)
            yield browsed
            browsed.url = tab.url
            browsed.complaints = tuple(said)
            browser.close()
        view.send_signal(signal.SIGINT)
        browsed.ended = view.wait(30), view.stdout.read()
    finally:
        view.kill()
        view.wait()


@dataclass(frozen=True)
class Shown:
    """A run that Ctrl-C has ended, and all who watched it.

    Attributes:
        run: the terminal in which it ran.
        watch: another one, which is to have no colours.
        told: what a watcher without a terminal was told.
        browsed: its page; None where there is no browser.
        family: the processes that it had started, before.
        left: those of them that did not go.
    """

    run: Terminal
    watch: Terminal
    told: str
    browsed: Browsed | None
    family: list[psutil.Process]
    left: list[str]

    @property
    def terminals(self) -> tuple[Terminal, Terminal]:
        return self.run, self.watch


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("shown")
    with in_terminal(SWEEP, folder) as run:
        run.read_until(r"run \S+ of sweep", 120)
        watcher = ["status", "--watch", "--interval", "0.5"]
        with in_terminal(watcher, folder, columns=80, lines=24, variables={"NO_COLOR": "1"}) as watch:

            def wait_for(is_there: Callable[[], bool], timeout_s: float = 120) -> None:
                # A terminal that nobody reads holds up who writes to it.
                deadline = time.monotonic() + timeout_s
                while not is_there():
                    assert time.monotonic() < deadline
                    run.read(0.2)
                    watch.read(0.2)

            told = subprocess.Popen(
                [EIBENCH_RAY, "status", "--watch"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            try:
                run.read_until(r"1 generating", 180)
                watch.read_until(r"1 generating", 60)
                wait_for(lambda: bool(list(folder.glob("store/steps/*/slice-*.parquet"))))
                with in_browser(folder) as browsed:
                    if browsed is not None:
                        wait_for(lambda: browsed.coverage() != "")
                        browsed.first = browsed.coverage()
                        wait_for(lambda: bool(re.search(r"\d+ of 144 rows.* left", browsed.text("#rows"))))
                        wait_for(lambda: browsed.coverage() not in ("", browsed.first))
                        assert run.process.poll() is None, "the page has changed only after the run had ended"
                    fcntl.ioctl(run.master, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
                    size = len(run.written)
                    # A terminal drops what nobody has read at ^C: so all of the smaller page, from the cursor on.
                    while b"rows/s" not in run.written[size:].rpartition(HIDE)[2]:
                        assert run.read(30)
                    family = psutil.Process(run.process.pid).children(recursive=True)
                    os.write(run.master, b"\x03")
                    assert run.end(120) == 130
                    left = psutil.wait_procs(family, timeout=30)[1]
                    assert watch.end(60) == 0
                    lines = told.communicate(timeout=60)[0].decode()
                    assert told.returncode == 0
                    if browsed is not None:
                        wait_for(lambda: "interrupted" in browsed.text("#state"), 60)
                        browsed.state = browsed.text("#state")
            finally:
                told.kill()
            yield Shown(run, watch, lines, browsed, family, [one.name() for one in left if one.status() != "zombie"])


def test_a_terminal_shows_cells_engines_rates_and_time_left(shown: Shown) -> None:
    text = plain(shown.run.written)
    assert re.search(r"demo · echo +user_question +user_question_caption", text)
    assert re.search(r"echo \(made up\) +\S+ +\d+% ", text)
    assert re.search(r"[\d.-]+ rows/s   [\d.-]+ tokens/s   0 errors", text)
    assert re.search(r"running \d+ s, left ", text)
    assert "waiting: the engine to load" in text or "1 loading" in text


def test_ctrl_c_leaves_the_terminal_as_it_was(shown: Shown) -> None:
    for terminal in shown.terminals:
        assert terminal.written.count(HIDE) == terminal.written.count(SHOW) > 0
        assert terminal.written.rfind(SHOW) > terminal.written.rfind(HIDE)
        assert b"\x1b[?1049h" not in terminal.written, "what was there before stays to be read"
    text = " ".join(plain(shown.run.written).split())
    assert "SIGINT: committing what is done; once more to stop at once" in text
    after = text[text.rindex("rows/s") :]
    assert "Ended early by Ctrl-C: what was done is committed." in after
    assert re.search(r" Log: \S+/run.log Run: \S+ Store: \S+ Next: eibench-ray \w+ multirun/\S+ \(", after)


def test_ctrl_c_leaves_no_process(shown: Shown) -> None:
    assert len(shown.family) >= 4  # Ray's two services, its agent and a replica
    assert shown.left == []


def test_a_watcher_sees_the_same_and_ends_with_the_run(shown: Shown) -> None:
    text = plain(shown.watch.written)
    assert re.search(r"running \d+ s, left ", text)
    assert "): interrupted. " in text[text.rindex("rows/s") :]


def test_without_colours_the_view_is_drawn_all_the_same(shown: Shown) -> None:
    assert HIDE in shown.watch.written
    assert COLOURS.findall(shown.watch.written) == []
    assert COLOURS.search(shown.run.written)


def test_a_watcher_without_a_terminal_gets_lines(shown: Shown) -> None:
    lines = shown.told
    assert re.search(r"^\d+ of 144 rows \(\d+%\), ", lines, re.MULTILINE)
    assert "): interrupted. " in lines
    assert "\x1b" not in lines


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (Debian: apt-get install chromium)")
def test_view_follows_the_run_in_a_browser_and_ends_by_ctrl_c(shown: Shown) -> None:
    pytest.importorskip("playwright", reason="playwright drives the browser")
    browsed = shown.browsed
    assert browsed is not None
    assert re.search(r"ssh -N -L (\d+):127\.0\.0\.1:\1 ", browsed.lines[2])
    assert "token" not in browsed.url
    assert re.search(r"of 48 samples of all cells", browsed.first)
    assert "interrupted" in browsed.state
    assert browsed.complaints == ()
    assert browsed.ended == (0, "ended\n")

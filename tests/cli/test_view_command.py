"""`view` in a real browser while a real run goes on: the page changes as slices come, and Ctrl-C ends it cleanly."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (Debian: apt-get install chromium)"),
]

COMMAND = [sys.executable, "-m", "eibench_ray.cli.app"]
CELLS = ["model=echo", "judge=echo", "dataset=demo", "setting=user_question", "tracking=none", "report.html=false"]
# Slices of 4 rows, one every 8 s: nobody waits for its end, since the test interrupts it.
SLOWLY = ["model.engine.latency_s=4", "model.engine.max_num_seqs=1", "store.slice_rows=4"]
WAIT_S = 240.0  # a start of Ray on a busy machine


@pytest.fixture
def run(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that goes on for a while, its store begun."""
    running = subprocess.Popen(
        [*COMMAND, "run", "-m", *CELLS, *SLOWLY],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "run.err").open("wb"),
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    )
    try:
        wait_for(lambda: list((tmp_path / "store").glob("steps/*/slice-*.parquet")), running, tmp_path / "run.err")
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
        running.wait(WAIT_S)


def wait_for(is_there: object, running: subprocess.Popen[bytes], errors: Path) -> None:
    """Returns once something is there that a run makes."""
    assert callable(is_there)
    until = time.monotonic() + WAIT_S
    while not is_there():
        assert running.poll() is None, errors.read_text(errors="replace")
        assert time.monotonic() < until, errors.read_text(errors="replace")
        time.sleep(0.2)


def test_a_run_is_followed_while_it_goes_on(run: subprocess.Popen[bytes], tmp_path: Path) -> None:
    view = subprocess.Popen(
        [*COMMAND, "view", "store", "--no-open"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert view.stdout is not None
        lines = [view.stdout.readline() for _ in range(3)]
        [url] = re.findall(r"http://127\.0\.0\.1:\d+/\?token=\S+", "".join(lines))
        assert re.search(r"ssh -N -L (\d+):127\.0\.0\.1:\1 ", lines[2])
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            tab = browser.new_page()
            said: list[str] = []
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.goto(url)
            tab.get_by_role("link", name=re.compile(r"\d{8}-")).click()
            assert "token" not in tab.url
            page = tab.frame_locator("#page")
            coverage = page.locator("#head").get_by_text(re.compile(r"of 24 samples of all cells"))
            first = coverage.inner_text(timeout=60_000)
            assert run.poll() is None, "the run has ended before its page was seen"
            playwright.expect(tab.locator("#rows")).to_contain_text(
                re.compile(r"\d+ of 48 rows.* left"), timeout=60_000
            )
            playwright.expect(coverage).not_to_have_text(first, timeout=120_000)
            assert run.poll() is None, "the page has changed only after the run had ended"
            run.send_signal(signal.SIGINT)
            playwright.expect(tab.locator("#state")).to_contain_text("interrupted", timeout=WAIT_S * 1000)
            assert said == []
            browser.close()
        view.send_signal(signal.SIGINT)
        assert view.wait(30) == 0
        assert view.stdout.read() == "ended\n"
    finally:
        view.kill()
        view.wait()

"""Log lines of a command: at once, every few seconds, on stderr where that is no terminal, and in the run's log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eibench_ray.terminal.run_log import ScreenHandler, lines_shown, log_kept, phase

log = logging.getLogger("eibench_ray.somewhere")


@pytest.fixture
def screen() -> Iterator[ScreenHandler]:
    """The command's own handler, as it is set up without -v."""
    handler, root = ScreenHandler(is_verbose=False), logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "run.log"


def words(text: str) -> list[str]:
    """Lines without their times, which are checked."""
    lines = text.splitlines()
    for line in lines:
        time.strptime(line[:19], "%Y-%m-%d %H:%M:%S")
    return [line[20:] for line in lines]


@pytest.mark.usefixtures("screen")
def test_every_line_is_shown_where_nobody_watches_and_kept_from_the_first_on(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lines_shown():
        log.info("before there is a folder")
        with log_kept(kept):
            log.info("ready")
            log.warning("lost")
        log.info("after")
    log.info("nobody wants to know this")
    expected = ["INFO before there is a folder", "INFO ready", "WARNING lost"]
    assert words(kept.read_text()) == expected
    assert words(capsys.readouterr().err) == [*expected, "INFO after"]


@pytest.mark.usefixtures("screen")
def test_a_terminal_shows_what_is_wrong_and_the_log_has_all(
    kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with lines_shown(), log_kept(kept):
        log.info("ready")
        log.warning("lost")
        log.error("the end", extra={"is_printed": True})
    assert words(kept.read_text()) == ["INFO ready", "WARNING lost", "ERROR the end"]
    assert words(capsys.readouterr().err) == ["WARNING lost"]


@pytest.mark.usefixtures("screen")
def test_a_terminal_shows_what_takes_long(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    told: list[str] = []

    def how_far() -> str:
        told.append("")
        return "3 GB are here"

    with lines_shown(), phase("fetching me/eye", how_far=how_far, every_s=0.02):
        deadline = time.monotonic() + 20
        while len(told) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert words(capsys.readouterr().err)[0] == "INFO still fetching me/eye (0 s, 3 GB are here)"


@pytest.mark.usefixtures("screen")
def test_a_log_goes_on_and_has_one_line_per_line(kept: Path) -> None:
    for text in ("first\x1b]0;title\x07", "second"):
        with log_kept(kept):
            log.info(text)
    assert words(kept.read_text()) == ["INFO first\\x1b]0;title\\x07", "INFO second"]


def test_a_disk_that_is_full_costs_lines_and_not_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    with log_kept(Path("/dev/full")):
        log.info("one")
        log.info("two")
    assert capsys.readouterr().err == "/dev/full cannot be written (No space left on device): it lacks lines\n"


def test_a_phase_gives_a_word_now_and_then(kept: Path) -> None:
    with log_kept(kept):
        with phase("scoring 4 cells", every_s=0.05):
            deadline = time.monotonic() + 20
            while kept.read_text().count("still") < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        with phase("counting"):
            pass
    said = words(kept.read_text())
    assert said[:2] == ["INFO scoring 4 cells", "INFO still scoring 4 cells (0 s)"]
    assert said[-2:] == ["INFO scoring 4 cells took 0 s", "INFO counting"]

"""Terminals that cannot draw (TERM=dumb), or are to have no colour (NO_COLOR), and the page that opens at a run's end.

It takes some 20 s: the claim is about real processes, and one run serves all of it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_live_view import HIDE, Terminal, in_terminal, plain

pytestmark = pytest.mark.slow
SWEEP = [
    *("run", "--open", "model=echo", "judge=echo", "dataset=demo", "dataset.limit=3", "setting=user_question"),
    *("tracking=none", "cluster.num_cpus=2", "report.samples=0"),
    *("model.engine.load_s=2", "model.engine.latency_s=2", "model.engine.max_num_seqs=1"),  # until it is watched
]
CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
COLOURS = re.compile(rb"\x1b\[(?:\d+;)*(?:[34]\d|9[0-7]|10[0-7])[\d;]*m")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Terminal, Terminal, list[str]]:
    """A run where nothing can be drawn, its watcher that has no colours, and what the browser was told to open."""
    folder = tmp_path_factory.mktemp("plain")
    opened, browser = folder / "opened", folder / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{opened}"\n')
    browser.chmod(0o755)
    desktop = {"DISPLAY": ":0", "CI": "", "BROWSER": str(browser)}
    with in_terminal(SWEEP, folder, term="dumb", variables=desktop) as run:
        run.read_until(r"run \S+ of sweep", 120)
        with in_terminal(["status", "--watch"], folder, variables={"NO_COLOR": "1"}) as watch:
            assert run.end(180) == 0
            assert watch.end(60) == 0
    return run, watch, opened.read_text().splitlines()


def test_a_terminal_that_cannot_draw_gets_lines_alone(shown: tuple[Terminal, Terminal, list[str]]) -> None:
    written = shown[0].written
    assert CONTROLS.findall(written) == []
    assert re.search(r"^3 of 6 rows|of 6 rows \(|6 new completions", plain(written), re.MULTILINE)


def test_without_colours_the_view_is_drawn_all_the_same(shown: tuple[Terminal, Terminal, list[str]]) -> None:
    written = shown[1].written
    assert HIDE in written
    assert COLOURS.findall(written) == []


def test_the_page_opens_once_in_the_desktops_browser(shown: tuple[Terminal, Terminal, list[str]]) -> None:
    (page,) = shown[2]
    assert re.fullmatch(r"file:///\S+/report\.html", page)
    assert Path(page.removeprefix("file://")).is_file()

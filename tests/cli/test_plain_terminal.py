"""A run in a terminal that cannot draw (TERM=dumb), and the page that opens at its end.

It takes some 8 s: the claim is about a real process, and one run serves all of it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_live_view import Terminal, in_terminal, plain

pytestmark = pytest.mark.slow
SWEEP = [
    *("run", "--open", "model=echo", "judge=echo", "dataset=demo", "dataset.limit=3", "setting=user_question"),
    *("tracking=none", "cluster.num_cpus=2", "report.samples=0"),
]
CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Terminal, list[str]]:
    """A run where nothing can be drawn, and what the browser was told to open."""
    folder = tmp_path_factory.mktemp("plain")
    opened, browser = folder / "opened", folder / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{opened}"\n')
    browser.chmod(0o755)
    desktop = {"DISPLAY": ":0", "CI": "", "BROWSER": str(browser)}
    with in_terminal(SWEEP, folder, term="dumb", variables=desktop) as run:
        assert run.end(180) == 0
    return run, opened.read_text().splitlines()


def test_a_terminal_that_cannot_draw_gets_lines_alone(shown: tuple[Terminal, list[str]]) -> None:
    written = shown[0].written
    assert CONTROLS.findall(written) == []
    assert re.search(r"^3 of 6 rows|of 6 rows \(|6 new completions", plain(written), re.MULTILINE)


def test_the_page_opens_once_in_the_desktops_browser(shown: tuple[Terminal, list[str]]) -> None:
    (page,) = shown[1]
    assert re.fullmatch(r"file:///\S+/report\.html", page)
    assert Path(page.removeprefix("file://")).is_file()

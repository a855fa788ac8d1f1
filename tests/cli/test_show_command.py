"""The command `show`, as a user calls it on the folder of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest

if TYPE_CHECKING:
    from conftest import Called, Sweeps

    Command = Callable[..., Called]


@pytest.fixture
def run(sweeps: Sweeps, tmp_path: Path) -> Path:
    """The folder of a run of one cell, whose first sample has a question that acts on a terminal."""
    sweeps.write_dataset(range(4), questions={0: "why\x1b[2J so?"})
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    folder = tmp_path / "run"
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)
    return folder


def test_it_shows_request_reply_and_score(command: Command, run: Path) -> None:
    shown = command("show", run, "--sample", "s001")
    assert shown.code == 0, shown.err
    assert shown.out.count("exactly what was sent") == 2
    assert "Score in echo/plain/faces/strict" in shown.out


def test_what_acts_on_a_terminal_is_shown_as_text(command: Command, run: Path) -> None:
    shown = command("show", run, "--sample", "s000")
    assert "\x1b[2J" not in shown.out
    assert r"why\x1b[2J so?" in shown.out


def test_json_has_the_messages_as_they_were(command: Command, run: Path) -> None:
    values = json.loads(command("show", run, "--sample", "s000", "--step", "answer", "--json").out)
    (step,) = values["steps"]
    assert step["trace"] == "sent"
    assert step["messages"][0]["content"][1] == "Look. why\x1b[2J so?"


def test_without_a_sample_it_says_which_option_is_missing(command: Command, run: Path) -> None:
    called = command("show", run)
    assert (called.code, called.err.splitlines()[0][:32]) == (2, "eibench-ray: --sample is missing")

"""The setting that asks itself, from the command line to its counts and labels, on the engine that costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

CELL = ["model=echo", "model@asker=echo", "setting=cfsa", "judge=echo", "dataset=demo", "tracking=none"]
NUM_SAMPLES = 24
# Echo answers with one line: of three questions that may be asked, each picture gets one.
NUM_ASKED = NUM_SAMPLES * (1 + 1 + 4 + 1 + 1 + 1 + 1)
NUM_AT_MOST = NUM_ASKED + 2 * NUM_SAMPLES


@pytest.mark.usefixtures("commands_share_ray")
def test_a_run_counts_what_was_asked_and_goes_on_where_it_was(command: Command, tmp_path: Path) -> None:
    planned = command("plan", *CELL, "--json").json
    assert planned["requests"] == NUM_AT_MOST
    done = command("run", "--json", *CELL)
    assert done.code == 0, done.err
    summary = done.json
    assert (summary["requests"], summary["completions_new"], summary["errors"]) == (NUM_ASKED, NUM_ASKED, 0)
    status = command("status", "--json").json
    assert (status["requests"], status["requests_done"], status["errors"]) == (NUM_ASKED, NUM_ASKED, 0)
    assert {step["name"]: step["rows"] for step in status["steps"] if not step["rows_done"]} == {
        "specific[2]": 0,
        "specific[3]": 0,
    }
    planned = command("plan", *CELL, "--json").json
    assert (planned["requests"], planned["requests_at_least"], planned["requests_done"]) == (NUM_ASKED,) * 3
    again = command("run", "--json", *CELL).json
    assert (again["requests"], again["completions_new"], again["completions_reused"]) == (NUM_ASKED, 0, NUM_ASKED)
    # Echo writes no numbered list, so nothing of it is a label.
    called = command("export", "--as", "ground-truth", "--out", "labels")
    assert called.code == 2
    assert "(24 without numbered triggers)" in " ".join(called.err.split())
    assert not (tmp_path / "labels").exists()
    called = command("export", "--model", "echo")
    assert called.code == 2
    assert "--model chooses for a benchmark's format: add --as ground-truth" in " ".join(called.err.split())

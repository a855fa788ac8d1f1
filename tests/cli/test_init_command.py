"""The command `init`: what it writes can be prepared, planned and run as it says, and nothing is replaced."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]


@pytest.mark.usefixtures("commands_share_ray")
def test_the_commands_that_it_names_work(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = command("init", "mine", "--json").json
    monkeypatch.chdir(tmp_path / "mine")
    prepare, plan, run = (shlex.split(line)[1:] for line in written["next"])
    assert command(*prepare).code == 0
    planned = command(*plan, "--json").json
    assert (planned["requests"], len(planned["cells"])) == (6, 2)
    assert {cell["judge"] for cell in planned["cells"]} == {"choice", "exact_match"}
    ran = command(*run, "model=echo", "--json").json
    assert [row["n"] for row in ran["rows"]] == [6, 6]
    assert set(ran["rows"][0]["groups"]["topic"]) == {"nature", "numbers"}


def test_no_file_is_replaced(command: Command, tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text("mine")
    called = command("init")
    assert (called.code, called.err.splitlines()[0][:13]) == (2, "eibench-ray: ")
    assert "has questions.jsonl already" in called.err
    assert [path.name for path in tmp_path.iterdir()] == ["questions.jsonl"]
    assert (tmp_path / "questions.jsonl").read_text() == "mine"

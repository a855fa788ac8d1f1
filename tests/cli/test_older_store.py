"""Every command that opens a store refuses one of another version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

CELL = ["model=echo", "judge=echo", "dataset=demo", "tracking=none"]


@pytest.fixture
def older(tmp_path: Path) -> str:
    (tmp_path / "older/steps/1f").mkdir(parents=True)
    (tmp_path / "older/runs").mkdir()
    (tmp_path / "older/runs/20260101-000000-abcd.json").write_text("{}")
    return "older"


@pytest.mark.usefixtures("older")
@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", *CELL, "store.root=older"],
        ["run", *CELL, "store.root=older"],
        ["simulate", *CELL, "store.root=older"],
        ["fsck", "older"],
        ["fsck", "older", "--repair"],
        ["runs", "--store", "older"],
        ["status", "--store", "older"],
        ["status", "2026", "--store", "older"],
        ["report", "2026", "--store", "older"],
        ["export", "2026", "--out", "out", "--store", "older"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_store_of_another_version_ends_with_two_and_stays_as_it_is(
    arguments: list[str], command: Command, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    called = command(*arguments)
    assert called.code == 2
    assert "an earlier version of eibench-ray made it" in called.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_list_of_all_known_stores_says_which_is_left_out(
    command: Command, older: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / older).rename(tmp_path / "store")
    called = command("runs")
    assert called.code == 0
    assert "left out" in called.err
    called = command("status")
    assert called.code == 2
    assert "left out" in caplog.text

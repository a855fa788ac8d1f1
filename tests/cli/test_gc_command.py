"""The command `gc`, as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Called, Sweeps

    Command = Callable[..., Called]


def test_it_lists_and_deletes_only_when_it_is_told(command: Command, sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    root = sweep.store.root
    listed = command("gc", root)
    assert listed.code == 0
    assert listed.out.count("step: ") == 2
    assert "nothing was deleted: --delete does" in listed.out.replace("\n", " ")
    steps = Path(root) / "steps"
    assert len(list(steps.iterdir())) == 2
    deleted = command("gc", root, "--delete", "--json").json
    assert deleted["deleted"]
    assert [part["what"] for part in deleted["unneeded"]] == ["step", "step"]
    assert not list(steps.iterdir())
    assert "need all that is there" in command("gc", root).out.replace("\n", " ")

"""What docs/extend.md shows works as it stands, in a package of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Outside

CELL = ["model=echo", "dataset=demo", "judge=echo", "cluster.num_cpus=2", "--config-dir", "options"]


def test_a_sweep_runs_with_what_the_package_adds(outside: Outside) -> None:
    done = outside.call("run", "--json", *CELL, "tracking=lines")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    (name,) = summary["tracking"]["sent"]
    (line,) = (json.loads(line) for line in (outside.folder / "figures.jsonl").read_text().splitlines())
    assert line["cell"] == name
    assert line["n"] == 24
    again = outside.call("run", "--json", *CELL, "tracking=lines")
    assert again.returncode == 0, again.stderr
    assert len((outside.folder / "figures.jsonl").read_text().splitlines()) == 1


def test_a_wrong_option_of_it_is_named(outside: Outside) -> None:
    done = outside.call("plan", *CELL, "tracking=lines", "+tracking.pth=x")
    assert done.returncode == 2
    assert "tracking.pth: there is no such key; did you mean 'tracking.path'?" in " ".join(done.stderr.split())

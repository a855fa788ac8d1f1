"""What docs/extend.md shows works as it stands, in a package of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from conftest import Outside

CELL = ["model=canned", "dataset=demo", "judge=echo", "cluster.num_cpus=2", "--config-dir", "options"]


def read_answers(folder: Path) -> list[dict[str, Any]]:
    """The rows of the engine that the package adds."""
    rows = [row for file in folder.rglob("slice-*.parquet") for row in pq.read_table(file).to_pylist()]
    return [row for row in rows if row["engine"].startswith("canned 1.0")]


def test_a_sweep_runs_with_what_the_package_adds(outside: Outside) -> None:
    done = outside.call("run", "--json", *CELL, "tracking=lines")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    (name,) = summary["tracking"]["sent"]
    assert name.startswith("canned/")
    assert {"1. the weather"} == {row["text"] for row in read_answers(outside.folder)}
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


def test_a_wrong_key_of_its_engine_is_named(outside: Outside) -> None:
    done = outside.call("plan", *CELL, "tracking=none", "+model.engine.txt=x")
    assert done.returncode == 2
    assert "model.engine.txt: there is no such key" in " ".join(done.stderr.split())

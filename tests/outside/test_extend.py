"""The code of docs/extend.md works as it stands: an engine, a scorer, a benchmark and a tracker of another package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from conftest import Called, Outside

ENGINE = ["model=canned", "cluster.num_cpus=2", "--config-dir", "options"]
CELL = [*ENGINE, "dataset=sums", "judge=brevity"]
NUM_SUMS = 12


@pytest.fixture(scope="session")
def prepared(outside: Outside) -> Outside:
    """The samples that the benchmark brings, prepared by its command."""
    done = outside.call("prepare", "sums", "--out", "sums", "--rows", str(NUM_SUMS), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["datasets"][0]["rows"] == NUM_SUMS
    return outside


def test_each_is_one_file_of_at_most_forty_lines_of_code(outside: Outside) -> None:
    files = {file.name: file.read_text().splitlines() for file in (outside.folder / "my_eval").glob("*.py")}
    assert set(files) == {"brevity_scorer.py", "canned_engine.py", "lines_tracker.py", "sums_benchmark.py"}
    assert all(len([line for line in lines if line.strip()]) <= 40 for lines in files.values())


def read_answers(folder: Path) -> list[dict[str, Any]]:
    """The rows of the engine that the package adds."""
    rows = [row for file in folder.rglob("slice-*.parquet") for row in pq.read_table(file).to_pylist()]
    return [row for row in rows if row["engine"].startswith("canned 1.0")]


def last_json(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text.splitlines()[-1])
    return loaded


def test_a_sweep_runs_with_all_that_the_package_adds(prepared: Outside) -> None:
    done = prepared.call("run", "--json", *CELL, "tracking=lines")
    assert done.returncode == 0, done.stderr
    summary = last_json(done.stdout)
    answers = read_answers(prepared.folder)
    assert (len(answers), {row["text"] for row in answers}) == (NUM_SUMS, {"1. the weather"})

    (row,) = json.loads(prepared.call("report", summary["run_dir"], "--json").stdout)["rows"]
    assert (row["metric"], row["value"], row["n"], row["coverage"]) == ("brief", 1.0, NUM_SUMS, 1.0)
    assert set(row["groups"]) == {"digits"}

    lines = [json.loads(line) for line in (prepared.folder / "figures.jsonl").read_text().splitlines()]
    assert [line["run"] for line in lines] == list(summary["tracking"]["lines"]["sent"])
    cell, sweep = lines
    assert (cell["brief"], cell["words"], cell["n"]) == (1.0, 3.0, NUM_SUMS)
    assert (sweep["cells"], sweep["cells_failed"]) == (1, 0)
    again = prepared.call("run", "--json", *CELL, "tracking=lines")
    assert (again.returncode, last_json(again.stdout)["completions_new"]) == (0, 0), again.stderr
    assert len((prepared.folder / "figures.jsonl").read_text().splitlines()) == 2

    done = prepared.call("export", summary["run_dir"], "--as", "sums-tsv", "--out", "tsv")
    assert done.returncode == 0, done.stderr
    lines = (prepared.folder / "tsv" / "answers.tsv").read_text().splitlines()
    assert len(lines) == NUM_SUMS
    assert all(line.split("\t")[2] == "1. the weather" for line in lines)


@pytest.mark.usefixtures("commands_share_ray")
def test_a_scorer_in_a_folder_of_options_needs_no_package(
    outside: Outside, command: Callable[..., Called], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    (own / "scorers").mkdir(parents=True)
    (own / "judge").mkdir()
    shutil.copy(outside.folder / "my_eval" / "brevity_scorer.py", own / "scorers" / "terse.py")
    (own / "judge" / "terse.yaml").write_text("name: terse\nkind: terse\nmost_words: 2\n")
    arguments = ["model=echo", "dataset=demo", "judge=terse", "tracking=none", "cluster.num_cpus=2"]
    done = command("run", "--json", *arguments, "--config-dir", "own")
    assert done.code == 0, done.err
    (row,) = command("report", done.json["run_dir"], "--json").json["rows"]
    assert (row["metric"], row["value"], row["coverage"]) == ("brief", 0.0, 1.0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("+tracking.lines.pth=x", "tracking.lines.pth: there is no such key; did you mean 'tracking.lines.path'?"),
        ("+model.engine.txt=x", "model.engine.txt: there is no such key"),
        ("+judge.most_word=1", "judge.most_word: there is no such key"),
        ("judge.kind=brevit", "there is no scorer 'brevit': 'brevity' is near"),
        ("model.engine.kind=cannd", "there is no engine kind 'cannd': 'canned' is near"),
    ],
)
def test_what_is_wrong_with_an_option_of_it_is_named(
    prepared: Outside, command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch, option: str, message: str
) -> None:
    monkeypatch.syspath_prepend(prepared.site)  # in the test's process: a Python for each takes ten times as long
    monkeypatch.chdir(prepared.folder)
    done = command("plan", *CELL, "tracking=lines", option)
    assert done.code == 2
    assert message in " ".join(done.err.split())

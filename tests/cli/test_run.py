"""A sweep from the command line to its scores, on the engine that costs nothing: run, plan, status, report, export."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import yaml

from eibench_ray.config.load import to_config
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.store.slice_store import Store

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

SETTINGS = ["user_question", "user_question_caption"]
CELLS = ["model=echo", "judge=echo", "dataset=demo", "tracking=none", f"setting={','.join(SETTINGS)}"]
NUM_SAMPLES = 24
NUM_REQUESTS = 5 * NUM_SAMPLES  # two answers, two verdicts, one caption

RUN_KEYS = {
    "run_dir",
    "log",
    "models",
    "store",
    "cells",
    "cells_blocked",
    "cells_failed",
    "requests",
    "completions_new",
    "completions_reused",
    "errors",
    "errors_by_kind",
    "quarantined",
    "loads",
    "wall_s",
    "interrupted",
    "preempted",
    "handed_over",
    "cost_usd",
    "run_cost_usd",
    "budget_usd",
    "shortage",
    "page",
    "tracking",
    "rows",
}
ROW_KEYS = {"model", "setting", "dataset", "judge", "metric", "value", "ci95", "coverage", "n"}


@dataclass(frozen=True, slots=True)
class Run:
    """The one run that the tests here look at."""

    folder: Path
    summary: dict[str, Any]
    err: str

    @property
    def store(self) -> Path:
        return Path(self.summary["store"])

    @property
    def again(self) -> list[str]:
        """The arguments of the same sweep over the same store, from wherever it is called."""
        return ["-m", *CELLS, "model@captioner=echo", f"store.root={self.store}"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A sweep of two cells, run by the command in a process of its own, where there is no desktop to open its page."""
    working = tmp_path_factory.mktemp("working")
    line = ["run", "--json", "--open", "-m", *CELLS, "model@captioner=echo"]
    browser = working / "browser"
    browser.write_text(f"#!/bin/sh\ntouch '{working}/opened'\n")
    browser.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "eibench_ray.cli.app", *line],
        cwd=working,
        env=os.environ | {"BROWSER": str(browser), "DISPLAY": "", "WAYLAND_DISPLAY": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not (working / "opened").exists()
    summary = json.loads(done.stdout)
    return Run(Path(summary["run_dir"]), summary, done.stderr)


def test_a_run_ends_with_one_object_of_stable_keys(ran: Run) -> None:
    assert set(ran.summary) == RUN_KEYS
    counts = {name: ran.summary[name] for name in ("cells", "requests", "completions_new", "errors", "loads")}
    assert counts == {
        "cells": 2,
        "requests": NUM_REQUESTS,
        "completions_new": NUM_REQUESTS,
        "errors": 0,
        "loads": 1,  # one engine answers, captions and judges
    }
    assert ran.summary["completions_reused"] == 0
    assert ran.summary["interrupted"] is False
    assert ran.summary["wall_s"] > 0


def test_every_cell_has_its_row(ran: Run) -> None:
    rows = ran.summary["rows"]
    assert {row["setting"] for row in rows} == set(SETTINGS)
    for row in rows:
        assert set(row) >= ROW_KEYS
        assert (row["model"], row["dataset"], row["judge"], row["n"]) == ("echo", "demo", "echo", NUM_SAMPLES)
        low, high = row["ci95"]
        assert 0 <= low <= row["value"] <= high <= 1
        assert row["coverage"] == 1
        assert row["self_judged"] is True


def test_a_cell_that_cannot_run_stops_nothing_and_is_no_failure(ran: Run, command: Command) -> None:
    arguments = [argument.replace("model=echo", "model=echo,otter", 1) for argument in ran.again]
    called = command("run", *arguments)
    assert called.code == 0
    assert "Nothing was asked: the store had every answer." in called.out
    text = " ".join(called.out.split())
    assert (
        "2 cells blocked: no recorded predictions: predictions/otter/demo.user_question.jsonl, "
        "predictions/otter/demo.user_question_caption.jsonl (otter): put lines of {path: text} or"
    ) in text
    summary = command("run", "--json", *arguments).json
    assert (summary["cells"], summary["cells_blocked"]) == (4, 2)
    assert {row["model"] for row in summary["rows"] if row["blocked"]} == {"otter"}
    told = command("report", summary["run_dir"]).out
    assert "2 cells blocked: no recorded predictions" in " ".join(told.split())
    assert "2 cells blocked" in " ".join(command("status", summary["run_dir"]).out.split())


def test_people_read_the_leaderboard_and_where_everything_is(ran: Run) -> None:
    assert "user_question_caption" in ran.err
    assert f"{NUM_REQUESTS} new completions, 0 from the store, 0 errors, 1 load" in ran.err
    assert f"Run: {ran.folder}" in ran.err
    assert f"Log: {ran.folder / 'run.log'}" in ran.err
    assert f"Next: eibench-ray compare {ran.folder.relative_to(ran.folder.parents[2])}  (" in ran.err


def test_the_end_says_what_each_model_took(ran: Run) -> None:
    (model,) = ran.summary["models"]
    assert model["prompt_tokens"] > model["completion_tokens"] > 0
    assert (model["model"], model["completions_new"], model["cost_usd"]) == ("echo", NUM_REQUESTS, None)
    line = f"{NUM_REQUESTS} +{model['prompt_tokens']:,} +{model['completion_tokens']:,}"
    assert re.search(f"^echo +{line}", ran.err, re.MULTILINE)
    assert f"Page: {ran.folder}/report.html" in ran.err


def test_a_run_lies_where_hydra_users_expect_it(ran: Run) -> None:
    assert ran.folder.parent.parent.name == "multirun"
    sweep = yaml.safe_load((ran.folder / "multirun.yaml").read_text())
    assert sweep["hydra"]["launcher"]["_target_"].endswith("PlanLauncher")
    files = {"run.json", "ledger.jsonl", "leaderboard.md", "leaderboard.csv", "leaderboard.parquet", "multirun.yaml"}
    files |= {"report.html"}
    assert {path.name for path in ran.folder.iterdir()} - {"run.log"} == {".hydra", *files}, "and nothing else"


@pytest.mark.parametrize(("num", "setting"), list(enumerate(SETTINGS)))
def test_every_job_has_its_hydra_folder(ran: Run, num: int, setting: str) -> None:
    folder = ran.folder / ".hydra" / str(num)
    config = to_config(yaml.safe_load((folder / "config.yaml").read_text()))
    assert (config.setting.name, config.model.name) == (setting, "echo")
    hydra = yaml.safe_load((folder / "hydra.yaml").read_text())["hydra"]
    assert (hydra["job"]["num"], hydra["job"]["id"]) == (num, str(num))
    assert hydra["runtime"]["output_dir"] == str(ran.folder)
    assert hydra["runtime"]["choices"]["setting"] == setting
    assert hydra["runtime"]["choices"]["model@judge.model"] == "echo"
    overrides = yaml.safe_load((folder / "overrides.yaml").read_text())
    assert overrides == hydra["overrides"]["task"]
    assert f"setting={setting}" in overrides


def test_the_same_sweep_again_asks_nothing(ran: Run, command: Command) -> None:
    called = command("run", "--json", *ran.again)
    assert called.code == 0
    summary = called.json
    assert (summary["completions_new"], summary["loads"]) == (0, 0)
    assert summary["completions_reused"] == summary["requests"] == NUM_REQUESTS
    assert summary["rows"] == ran.summary["rows"]
    assert "Nothing was asked: the store had every answer." in called.err


def test_without_json_the_leaderboard_is_on_stdout(ran: Run, command: Command) -> None:
    called = command("run", *ran.again)
    assert "recall %" in called.out
    assert "0 new completions" in called.out


def test_a_single_cell_runs_without_a_sweep(ran: Run, command: Command, tmp_path: Path) -> None:
    cell = ["model=echo", "judge=echo", "dataset=demo", "tracking=none"]
    summary = command("run", "--json", *cell, f"store.root={ran.store}").json
    folder = Path(summary["run_dir"])
    assert folder.parent.parent == tmp_path / "outputs"
    assert (summary["cells"], summary["requests"], summary["completions_new"]) == (1, 2 * NUM_SAMPLES, 0)
    assert yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text()) == [*cell, f"store.root={ran.store}"]
    assert yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())["setting"]["name"] == "user_question"


def test_job_folders_follow_hydras_own_settings(ran: Run, command: Command, tmp_path: Path) -> None:
    named = ["hydra.sweep.dir=mine", "hydra.sweep.subdir=${hydra.job.num}_${setting.name}", "hydra.output_subdir=notes"]
    command("run", "--json", *ran.again, *named)
    found = {path.relative_to(tmp_path / "mine").as_posix() for path in tmp_path.glob("mine/notes/*/config.yaml")}
    assert found == {f"notes/{num}_{setting}/config.yaml" for num, setting in enumerate(SETTINGS)}


def test_a_run_without_a_page_writes_none(ran: Run, command: Command, tmp_path: Path) -> None:
    summary = command("run", "--json", *ran.again, "hydra.sweep.dir=plain", "report.html=false").json
    assert summary["page"] is None
    assert not list((tmp_path / "plain").glob("*.html"))


def test_runs_that_want_one_folder_have_one_each_and_say_so(ran: Run, command: Command, tmp_path: Path) -> None:
    wanted = [*ran.again, "hydra.sweep.dir=multirun/paper"]
    first, second = (command("run", "--json", *wanted) for _ in range(2))
    assert [Path(called.json["run_dir"]).name for called in (first, second)] == ["paper", "paper-2"]
    told = f"{tmp_path / 'multirun/paper'} is the folder of an earlier run: this one writes to"
    assert told not in " ".join(first.err.split())
    assert told in " ".join(second.err.split())
    assert second.json["rows"] == first.json["rows"]
    ids = [json.loads((tmp_path / "multirun" / name / "run.json").read_text())["id"] for name in ("paper", "paper-2")]
    listed = command("runs", "--json", "--store", ran.store).json["runs"]
    assert {run["id"]: Path(run["folder"]).name for run in listed}.items() >= dict(
        zip(ids, ("paper", "paper-2"), strict=True)
    ).items()
    out = command("runs").out
    assert all(run_id in out for run_id in ids)
    assert "multirun/paper-2" in out
    for run_id, name in zip(ids, ("paper", "paper-2"), strict=True):
        assert Path(command("status", run_id, "--json").json["run_dir"]).name == name
        assert Path(command("report", run_id, "--json").json["files"][0]).parent.name == name
    assert Path(command("status", "--json").json["run_dir"]).name == "paper-2"


@pytest.mark.parametrize(
    "arguments",
    [
        ["dataset.path=nowhere"],
        ["model=llava_next_7b", "model.engine.source=/nowhere"],
        ["tracking=wandb", "tracking.wandb.mode=online"],
        ["store.root=/proc/store"],
        ["cluster=ray", "cluster.address=127.0.0.1:1", "setting.calls.0.prompt=new"],
        ["nobody=knows"],
    ],
    ids=["no dataset", "all blocked", "no key", "no store", "no cluster", "no such option"],
)
@pytest.mark.parametrize("kind", ["run", "run -m", "plan", "prefetch", "submit slurm"])
def test_a_command_that_is_refused_leaves_nothing_behind(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, arguments: list[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    called = command(*kind.split(), "model=echo", "judge=echo", "dataset=demo", *arguments)
    if kind.startswith("run"):
        assert called.code == 2, called.err
    left = [path for path in tmp_path.rglob("*") if path.relative_to(tmp_path).parts[0] != "store"]
    assert left == []
    assert not list(tmp_path.glob("store/runs/*")) + list(tmp_path.glob("store/states/*"))


def test_a_limit_asks_for_less_and_shares_the_store(ran: Run, command: Command) -> None:
    summary = command("run", "--json", *ran.again, "dataset.limit=5").json
    assert (summary["requests"], summary["completions_new"]) == (25, 0)
    assert {row["n"] for row in summary["rows"]} == {5}


def test_a_plan_says_what_is_done(ran: Run, command: Command, tmp_path: Path) -> None:
    plan = command("plan", "--json", *ran.again).json
    assert set(plan) >= {"sweep", "store", "engines", "steps", "cells", "requests", "requests_done", "loads"}
    assert plan["requests_done"] == plan["requests"] == NUM_REQUESTS
    assert plan["loads"] == 0
    assert [engine["requests_left"] for engine in plan["engines"]] == [0]
    for step in plan["steps"]:
        assert set(step) >= {"id", "engine", "rows", "rows_done", "est_tokens"}
        assert (step["rows"], step["rows_done"], step["est_tokens"]) == (NUM_SAMPLES, NUM_SAMPLES, 0)
    for cell in plan["cells"]:
        assert set(cell) >= {"model", "setting", "dataset", "judge"}
        assert cell["requests_done"] == cell["requests"]
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_something_new_says_what_is_left(ran: Run, command: Command) -> None:
    plan = command("plan", "--json", *ran.again, "judge.explanation_chars=50").json
    left = {step["name"]: step["rows"] - step["rows_done"] for step in plan["steps"]}
    assert left == {"answer": 0, "caption": 0, "verdict": NUM_SAMPLES}
    assert plan["loads"] == 1
    assert sum(step["est_tokens"] for step in plan["steps"]) == 2 * NUM_SAMPLES * 256


def test_the_status_counts_what_the_store_has(ran: Run, command: Command) -> None:
    facts = command("status", ran.folder, "--json").json
    assert (facts["state"], facts["errors"], facts["loads"]) == ("finished", 0, 1)
    assert facts["requests_done"] == facts["requests"] == NUM_REQUESTS
    assert {step["rows_done"] for step in facts["steps"]} == {NUM_SAMPLES}
    assert [cell["setting"] for cell in facts["cells"]] == SETTINGS
    assert facts["run_dir"] == str(ran.folder)
    assert "finished. 120 of 120 requests done" in command("status", ran.folder).out


def test_the_latest_run_is_meant_where_none_is_named(
    ran: Run, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ran.folder.parents[2])
    assert Path(command("status", "--json").json["run_dir"]) == ran.folder


def test_a_report_scores_the_store_again(ran: Run, command: Command) -> None:
    (ran.folder / "leaderboard.csv").unlink()
    report = command("report", ran.folder, "--json").json
    assert report["rows"] == ran.summary["rows"]
    assert [Path(path).name for path in report["files"]] == ["leaderboard.md", "leaderboard.csv", "leaderboard.parquet"]
    assert all(Path(path).is_file() for path in report["files"])
    assert "recall %" in command("report", ran.folder).out


def test_a_report_writes_a_page_of_several_runs(ran: Run, command: Command) -> None:
    written = command("report", ran.folder, ran.folder, "--html", "page.html", "--samples", "5", "--json").json
    assert Path(written["html"]).is_file()
    assert "the texts of 5 samples (19 more" in written["contents"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--samples", "5"], "--samples says what a page holds: add --html FILE"),
        (["--html", "page.svg"], "--html page.svg: a page is written as .html"),
    ],
)
def test_options_of_a_page_need_one(ran: Run, command: Command, arguments: list[str], said: str) -> None:
    called = command("report", ran.folder, *arguments)
    assert called.code == 2
    assert said in called.err


def test_rescoring_a_run_changes_only_the_interval(ran: Run, command: Command) -> None:
    rows = command("rescore", ran.folder, "--confidence", "0.5", "--json").json["rows"]
    for before, after in zip(ran.summary["rows"], rows, strict=True):
        assert after["value"] == before["value"]
        assert after["confidence"] == 0.5
        assert after["ci95"][1] - after["ci95"][0] < before["ci95"][1] - before["ci95"][0]


def test_a_protocol_is_for_files_only(ran: Run, command: Command) -> None:
    called = command("rescore", ran.folder, "--protocol", "official")
    assert called.code == 2
    assert "reads a JSONL file of judgements" in called.err


def test_polars_reads_the_exported_rows(ran: Run, command: Command, tmp_path: Path) -> None:
    exported = command("export", ran.folder, "--out", tmp_path / "out", "--json").json
    assert (exported["cells"], exported["rows"]) == (2, 2 * NUM_SAMPLES)
    frame = pl.scan_parquet(tmp_path / "out" / "rows", hive_partitioning=True).collect()
    assert frame.height == 2 * NUM_SAMPLES
    assert set(frame["setting"]) == set(SETTINGS)
    assert {frame["model"][0], frame["judge"][0]} == {"echo"}
    for row in ran.summary["rows"]:
        mean = frame.filter(pl.col("setting") == row["setting"])["score"].mean()
        assert isinstance(mean, float)
        assert math.isclose(mean, row["value"])


def test_the_exported_rows_are_the_stores(ran: Run, command: Command, tmp_path: Path) -> None:
    command("export", ran.folder, "--out", tmp_path / "out")
    frame = pl.read_parquet(tmp_path / "out" / "rows", hive_partitioning=True)
    plan = command("plan", "--json", *ran.again).json
    store = Store(ran.store)
    steps = {step["id"]: step["name"] for step in plan["steps"]}
    sample_ids = open_dataset("package:demo").index().sample_ids
    for cell in plan["cells"]:
        of_cell = frame.filter(pl.col("setting") == cell["setting"]).sort("sample_id")
        for column, name in (("answer", "answer"), ("reply", "verdict")):
            [step] = [step for step in cell["steps"] if steps[step] == name]
            rows = store.read_rows(step, 0, sample_ids)
            texts = [row.text for _, row in sorted(rows.items())]
            digests = [row.request_digest for _, row in sorted(rows.items())]
            assert of_cell[column].to_list() == texts
            assert of_cell[f"{column}_request_digest"].to_list() == digests


def test_the_exported_jsonl_has_a_line_per_sample(ran: Run, command: Command, tmp_path: Path) -> None:
    command("export", "--as", "eibench", ran.folder, "--out", tmp_path / "out")
    files = sorted((tmp_path / "out" / "eibench").iterdir())
    assert [path.name for path in files] == [
        f"echo.{setting}.demo.echo.{kind}.jsonl" for setting in SETTINGS for kind in ("answers", "judgements")
    ]
    for path in files:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len({key for line in lines for key in line}) == len(lines) == NUM_SAMPLES


@pytest.fixture
def judgements(tmp_path: Path) -> Path:
    path = tmp_path / "judgements.jsonl"
    replies = {
        "Happy/1.png": "{score: 1/2} half of it",
        "Happy/2.png": "{score: 2/2}",
        "Angry/1.png": "{score: 0/3} none",
        "sadness/1.jpg": "{score: 1/3}",
        "excitement/1.jpg": "{score: 3/4}",
    }
    path.write_text("".join(json.dumps({key: reply}) + "\n" for key, reply in replies.items()))
    return path


def test_a_file_is_rescored_as_published(command: Command, judgements: Path) -> None:
    figures = command("rescore", judgements, "--protocol", "official", "--json").json
    assert figures == {"happy": 0.75, "angry": 0.0, "sad": 0.33333, "excit": 0.75, "average": 0.51667}
    assert list(figures) == ["happy", "angry", "sad", "excit", "average"]
    out = command("rescore", judgements, "--protocol", "official").out
    assert "average Score: 0.51667\n" in out


def test_a_file_of_the_complex_subset_has_only_an_average(command: Command, judgements: Path) -> None:
    figures = command("rescore", judgements, "--protocol", "official", "--subset", "complex", "--json").json
    assert figures == {"average": 0.51667}

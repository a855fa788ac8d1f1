"""MLflow's runs, read back through its own client."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from needed import need
from PIL import Image
from tracked_runs import BOARD, CELL, POINTS, SCORES, SECRET, SWEEP, find_bytes, ignore, tell

from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.errors import ConfigError
from eibench_ray.tracking.mlflow.mlflow_tracker import MlflowTracker
from eibench_ray.tracking.tracker import Final
from eibench_ray.tracking.tracker_registry import find_trackers, open_tracker

need("mlflow", "mlflow-skinny is not installed")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of the test's own, no variable of MLflow's, and one that lets its client read a folder."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    return iter([None])


def read_runs(folder: Path, experiment: str = "eibench") -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=str(folder))
    found = client.get_experiment_by_name(experiment)
    return {run.info.run_name: run for run in client.search_runs([found.experiment_id])}


def read_artifact(run: Any, name: str) -> Any:
    return json.loads((Path(run.info.artifact_uri) / name).read_text())


def test_the_sweep_has_a_run_and_its_cells_have_runs_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    report = tell(MlflowTracker(), tmp_path / "run", os.environ)
    assert list(report.sent) == [CELL.name, SWEEP.name]
    runs = read_runs(tmp_path / "mlruns")
    assert set(runs) == {CELL.name, SWEEP.name}
    cell, sweep = runs[CELL.name], runs[SWEEP.name]
    assert (cell.info.status, sweep.info.status) == ("FINISHED", "FINISHED")
    assert cell.data.tags["mlflow.parentRunId"] == sweep.info.run_id
    assert "mlflow.parentRunId" not in sweep.data.tags
    assert (cell.data.tags["job_type"], cell.data.tags["labels"]) == ("cell", "tiny, demo")

    assert {name: cell.data.metrics[name.replace("/", ".")] for name in SCORES} == SCORES
    client = MlflowClient(tracking_uri=str(tmp_path / "mlruns"))
    history = [(one.step, one.value) for one in client.get_metric_history(cell.info.run_id, "tokens")]
    assert history in ([(8, 80.0), (16, 160.0)], [(16, 160.0)])  # a point that waited gives way to a newer one
    assert (sweep.data.metrics["queue.tiny"], sweep.data.metrics["tokens_per_s.tiny"]) == (24.0, 9.0)
    assert (cell.data.params["model.name"], cell.data.params["model.stop.1"]) == ("tiny", "b")
    assert len(cell.data.params["setting.prompt"]) == 6000
    assert read_artifact(cell, "config.json")["setting"] == CELL.config["setting"]

    board = read_artifact(sweep, "leaderboard.json")
    assert (board["columns"], board["data"]) == (list(BOARD.columns), [list(BOARD.rows[0])])
    assert read_artifact(sweep, "addresses.json") == {"answer": "s3://b/steps/ab"}
    assert (Path(sweep.info.artifact_uri) / "report.html").read_text() == "<p>the page</p>"
    samples = read_artifact(cell, "samples.json")
    first, second = (dict(zip(samples["columns"], row, strict=True)) for row in samples["data"])
    assert (first["answer"], second["image"]) == ("an answer | <b>", None)
    assert Image.open(Path(cell.info.artifact_uri) / first["image"]).size == (512, 128)
    assert find_bytes(tmp_path, SECRET.encode()) == []
    assert capfd.readouterr().out == ""


def test_a_resumed_sweep_goes_on_in_its_runs(tmp_path: Path) -> None:
    unfinished = open_tracker(MlflowTracker(), tmp_path, {})
    unfinished.progress(CELL, POINTS[0])
    unfinished.close(120.0, print)
    assert read_runs(tmp_path / "mlruns")[CELL.name].info.status == "FAILED"
    tell(MlflowTracker(), tmp_path / "run", {})
    tell(MlflowTracker(), tmp_path / "run", {})
    runs = read_runs(tmp_path / "mlruns")
    assert {name: run.info.status for name, run in runs.items()} == {CELL.name: "FINISHED", SWEEP.name: "FINISHED"}


@pytest.mark.parametrize(
    ("options", "environ", "server"),
    [
        ({}, {}, "mlruns"),
        ({}, {"MLFLOW_TRACKING_URI": "https://me:pass-word-1@flow.example.org/x"}, "https://flow.example.org/x"),
        ({"uri": "here"}, {"MLFLOW_TRACKING_URI": "https://flow.example.org"}, "here"),
    ],
)
def test_the_address_is_the_options_the_environments_or_a_folder_and_never_has_a_login(
    tmp_path: Path, options: dict[str, Any], environ: dict[str, str], server: str
) -> None:
    tracker = MlflowTracker(**options)
    target = tracker.target(environ)
    assert target.server == (server if "://" in server else str(tmp_path / server))
    assert tracker.secret(environ) == ("pass-word-1" if "me:" in environ.get("MLFLOW_TRACKING_URI", "") else None)


def test_a_server_that_does_not_answer_is_named_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://me:{SECRET}@127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        tracker = open_tracker(MlflowTracker(), tmp_path, os.environ)
        tracker.finish(CELL, Final(SCORES), ignore)
        report = tracker.close(60.0, print)
    assert list(report.missing) == [CELL.name]
    assert "Connection refused" in report.missing[CELL.name]
    assert SECRET not in str(report)


def test_a_missing_package_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrackingConfig.model_validate({"mlflow": {}})
    assert list(find_trackers(config)) == ["mlflow"]
    monkeypatch.setattr("eibench_ray.tracking.tracker_registry.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs the package mlflow, .*pip install 'eibench-ray\[mlflow\]'"):
        find_trackers(config)


def test_a_plan_imports_no_tracker(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from eibench_ray.config.tracking_section import TrackingConfig\n"
        "from eibench_ray.tracking.tracker_registry import find_trackers\n"
        "print(list(find_trackers(TrackingConfig(mlflow={}, tensorboard={}, wandb={}))))\n"
        "print({'mlflow', 'tensorboard', 'wandb', 'numpy'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "['mlflow', 'tensorboard', 'wandb']\nset()\n"

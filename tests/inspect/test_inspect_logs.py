"""`export --as inspect`: the logs hold what the store has, and the real inspect-ai lists and reads them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.engines.engine import RowError
from eibench_ray.errors import StoreError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request
from eibench_ray.runs.inspect_logs import export_inspect
from eibench_ray.runs.results import score_run
from eibench_ray.runs.run_record import new_manifest

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.runs.run_record import RunManifest
    from eibench_ray.store.slice_store import Store

INSPECT = "inspect-ai==0.3.285"


@pytest.fixture
def ran(sweeps: Sweeps, scripted: type[Scripted]) -> tuple[RunManifest, Store]:
    """A run of one cell, in which the second sample has no answer."""

    def say(request: Request) -> str:
        if request.sample_id == "s001":
            raise RowError(RowErrorKind.PROMPT, "too long <script>")
        return f"cause {int(request.sample_id[1:])}.0 \u2028 </script>"

    sweeps.write_dataset(range(4))
    rule = {"name": "includes", "kind": "includes"}
    sweep = sweeps.plan(sweeps.config(judge=rule))
    sweeps.ask(sweep, scripted(say))
    return new_manifest(sweep.plan, Path("there"), sweep.config.store, sweep.config.score), sweep.store


def test_a_log_has_the_answers_the_scores_and_the_error(ran: tuple[RunManifest, Store], tmp_path: Path) -> None:
    assert export_inspect(*ran, tmp_path / "logs") == {"cells": 1, "samples": 4}
    [file] = (tmp_path / "logs").iterdir()
    log = json.loads(file.read_text(encoding="utf-8"))
    first, second = log["samples"][:2]
    assert first["scores"]["includes"]["value"] == 1.0
    assert first["target"] == ["cause 0.0", "cause 0.1"]
    assert first["input"].startswith("[picture: faces/0.png]")
    assert "data:" not in file.read_text(encoding="utf-8"), "no picture is copied"
    assert second["error"]["message"] == "prompt: too long <script>"
    assert second["scores"] == {}
    [row] = score_run(*ran)
    [figures] = log["results"]["scores"]
    assert figures["metrics"]["accuracy"]["value"] == row.score.metrics[0].overall.value
    assert (figures["scored_samples"], figures["unscored_samples"]) == (3, 1)


def test_a_file_in_the_way_is_left_alone(ran: tuple[RunManifest, Store], tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("mine")
    with pytest.raises(StoreError, match="is a file"):
        export_inspect(*ran, tmp_path / "logs")


@pytest.fixture(scope="module")
def inspect_python(pytestconfig: pytest.Config) -> Path:
    """A Python with inspect-ai, whose requirements do not go with those of this environment."""
    uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.prefix) / "uv" / "bin")
    if uv is None or pytestconfig.cache is None:
        pytest.skip("needs uv and pytest's cache, to install inspect-ai beside this environment")
    python = pytestconfig.cache.mkdir("inspect") / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, python.parents[1]], check=True)
    installed = [uv, "pip", "install", "--quiet", "--python", str(python), INSPECT]
    done = subprocess.run(installed, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{INSPECT} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return python


@pytest.mark.slow
def test_inspect_lists_and_reads_the_logs(ran: tuple[RunManifest, Store], inspect_python: Path, tmp_path: Path) -> None:
    export_inspect(*ran, tmp_path / "logs")
    command = [inspect_python, Path(__file__).parent / "read_logs.py", tmp_path / "logs"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    [log] = json.loads(done.stdout)
    assert (log["task"], log["model"], log["total"]) == ("faces/plain", "echo", 4)
    assert set(log["figures"]) == {"accuracy", "ci_low", "ci_high"}
    samples: list[dict[str, Any]] = log["samples"]
    assert [sample["id"] for sample in samples] == ["s000", "s001", "s002", "s003"]
    assert samples[0]["answer"] == "cause 0.0 \u2028 </script>"
    assert samples[0]["scores"] == {"includes": 1.0}
    assert samples[1]["error"] == "prompt: too long <script>"

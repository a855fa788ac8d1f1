"""A sweep on two versions of vLLM, in which one of vLLM's processes is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import yaml
from adapted_models import ADAPTERS, write_adapters
from command_lines import children_named

SETTINGS, NUM_SAMPLES, NUM_VERDICTS = ("asked", "drawn"), 6, 5
QUESTION = {"role": "subject", "image": True, "prompt": "{{ question }}"}
# The second asks the same twice.
SETTING_OPTIONS = {
    "asked": {"calls": [{"name": "answer", **QUESTION}]},
    "drawn": {
        "sampling": {"temperature": 1.0, "top_p": 0.95},
        "calls": [
            {"name": "first", **QUESTION},
            {"name": "answer", **QUESTION, "prompt": "{{ question }}{{ first[:0] }}"},
        ],
    },
}
# Each asks `base`; by the option that it is made from.
JUDGE_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "named": (
        "strict",
        {"explanation_chars": 12, "sampling": {"max_tokens": 192, "temperature": 1}, "repeats": 2},
    ),
    "counted": ("strict_count", {"explanation_chars": 12, "sampling": {"max_tokens": 64}}),
    "compared": ("correct", {"sampling": {"max_tokens": 64}}),
    "rated": (
        "rubric",
        {
            "scale": [{"value": -10, "text": "bad"}, {"value": 0}, {"value": 10, "text": "good"}],
            "sampling": {"max_tokens": 64},
        },
    ),
}
MARK = "EIBENCH_TEST_ENGINE"  # set in the processes of `base`, the engine that is stopped


@dataclass(frozen=True)
class Sweep:
    """The command's folder, its models and its summary, and the process that was stopped."""

    folder: Path
    models: tuple[str, ...]
    summary: dict[str, Any]
    stopped: int

    @property
    def run_dir(self) -> Path:
        return Path(self.summary["run_dir"])

    def ledger(self) -> list[dict[str, Any]]:
        """Its lines."""
        return [json.loads(line) for line in (self.run_dir / "ledger.jsonl").read_text().splitlines()]

    def of(self, judge: str) -> list[dict[str, Any]]:
        """A judge's lines of the leaderboard, of the models that answer."""
        return [row for row in self.summary["rows"] if row["judge"] == judge and row["model"] != "broken"]

    def rows(self) -> list[dict[str, Any]]:
        """All rows of all steps, each with its step's name and id, and the model that is asked."""
        rows = []
        for step in (self.folder / "store" / "steps").iterdir():
            what = json.loads((step / "manifest.json").read_text())["step"]
            own = {"step": what["name"], "step_id": step.name, "model": what["model"]}
            for file in step.glob("slice-*.parquet"):
                rows += [row | own for row in pq.read_table(file).to_pylist()]
        return rows


def run_sweep(folder: Path, other_python: Path | None) -> Sweep:
    """The sweep, once it is over.

    Args:
        folder: an empty one, in which the command is called.
        other_python: one with another vLLM, for the model `seeing`; without it, it has the one that is installed.
    """
    options = _options(folder)
    own = {"engine": {"runtime_env": {"py_executable": str(other_python)}}} if other_python else {}
    options["model"]["seeing"] = {"defaults": ["tiny_idefics3", "_self_"], **own}
    models = tuple(options["model"])
    for group, found in options.items():
        (folder / "conf" / group).mkdir(parents=True)
        for name, option in found.items():
            (folder / "conf" / group / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **option}))
    arguments = (
        f"--config-dir conf -m model={','.join(models)} setting={','.join(SETTINGS)} judge={','.join(JUDGE_OPTIONS)} "
        f"dataset=demo dataset.limit={NUM_SAMPLES} setting.sampling.max_tokens=12 store.slice_rows=3 tracking=none "
        "cluster.num_cpus=2 cluster.max_replicas_per_engine=1 cluster.progress_timeout_s=15"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "eibench_ray.cli.app", "run", "--json", *arguments.split()]
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err)
        try:
            stopped = _stop_base(folder, process)
            process.wait()
        finally:
            process.kill()
    said = (folder / "stdout").read_text()
    assert stopped, (folder / "stderr").read_text()
    assert said, (folder / "stderr").read_text()
    return Sweep(folder, models, json.loads(said.splitlines()[-1]), stopped)


def _options(folder: Path) -> dict[str, dict[str, Any]]:
    base = {"defaults": ["tiny_llama", "_self_"], "engine": {"env": {MARK: "base"}}}
    loras = write_adapters(folder / "adapters")
    models = {"base": base}
    models |= {name: {"defaults": ["base", "_self_"], "engine": {"lora": lora}} for name, lora in loras.items()}
    assert tuple(loras) == (*ADAPTERS, "broken")
    judges = {
        name: {"defaults": [parent, {"override /model@model": "base"}, "_self_"], **own}
        for name, (parent, own) in JUDGE_OPTIONS.items()
    }
    settings = {name: {"defaults": ["user_question", "_self_"], **own} for name, own in SETTING_OPTIONS.items()}
    return {"model": models, "judge": judges, "setting": settings}


def _stop_base(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """Stops vLLM's own process of `base` once it has a slice, beside another engine; returns it, or 0."""
    while process.poll() is None:
        if any(_has_committed(path) for path in folder.glob("multirun/*/*/ledger.jsonl")):
            for child in children_named(psutil.Process(process.pid), "EngineCore"):
                if child.environ().get(MARK) == "base":
                    child.send_signal(signal.SIGSTOP)
                    return child.pid
        time.sleep(0.1)
    return 0


def _has_committed(ledger: Path) -> bool:
    lines = list(_whole_lines(ledger))
    ready = {line["replica"] for line in lines if line["event"] == "replica_ready" and line["model"] == "base"}
    others = any(line["event"] == "replica_ready" and line["model"] != "base" for line in lines)
    return others and any(line["event"] == "slice_committed" and line["replica"] in ready for line in lines)


def _whole_lines(ledger: Path) -> Iterator[dict[str, Any]]:
    for line in ledger.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)

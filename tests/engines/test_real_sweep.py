"""One sweep on real engines, from the command line to the leaderboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from needed import need

from eibench_ray.datasets.dataset import open_dataset

need("vllm", "the engines need eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

MODELS = ("tiny_llama", "tiny_idefics3", "tiny_video_llava")  # the last in transformers
SETTINGS, NUM_SAMPLES = ("user_question", "user_question_cot"), 8
NUM_CELLS = len(MODELS) * len(SETTINGS)  # under each judge
OPTIONS = {
    "named": {
        "defaults": ["tiny_llama", "_self_"],
        "name": "named",
        "explanation_chars": 12,
        "sampling": {"max_tokens": 192, "temperature": 1},
        "repeats": 2,
    },
    "correct_by_tiny": {
        "defaults": ["correct", {"override /model@model": "tiny_llama"}, "_self_"],
        "name": "correct_by_tiny",
        "sampling": {"max_tokens": 64},
    },
    "rated_by_tiny": {
        "defaults": ["rubric", {"override /model@model": "tiny_llama"}, "_self_"],
        "name": "rated_by_tiny",
        "scale": [{"value": -10, "text": "bad"}, {"value": 0}, {"value": 10, "text": "good"}],
        "sampling": {"max_tokens": 64},
    },
}
SWEEP = [
    "--config-dir",
    "conf",
    "-m",
    f"model={','.join(MODELS)}",
    f"setting={','.join(SETTINGS)}",
    "dataset=demo",
    f"dataset.limit={NUM_SAMPLES}",
    f"judge={','.join(OPTIONS)}",
    "setting.sampling.max_tokens=12",
    "tracking=none",
    "cluster.num_cpus=2",
]


@dataclass(frozen=True)
class Sweep:
    """The command's folder and its summary."""

    folder: Path
    summary: dict[str, Any]

    @property
    def run_dir(self) -> Path:
        return Path(self.summary["run_dir"])

    def of(self, judge: str) -> list[dict[str, Any]]:
        """A judge's lines of the leaderboard."""
        return [row for row in self.summary["rows"] if row["judge"] == judge]

    def rows(self) -> list[dict[str, Any]]:
        """All rows of all steps, each with its step's name."""
        rows = []
        for step in (self.folder / "store" / "steps").iterdir():
            name = json.loads((step / "manifest.json").read_text())["step"]["name"]
            for file in step.glob("slice-*.parquet"):
                rows += [row | {"step": name, "step_id": step.name} for row in pq.read_table(file).to_pylist()]
        return rows


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("sweep")
    for name, option in OPTIONS.items():
        path = folder / "conf" / "judge" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(option))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "eibench_ray.cli.app", "run", "--json", *SWEEP]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Sweep(folder, json.loads(done.stdout.splitlines()[-1]))


def test_engines_are_loaded_once_each_for_all_cells(sweep: Sweep) -> None:
    ledger = [json.loads(line) for line in (sweep.run_dir / "ledger.jsonl").read_text().splitlines()]
    ready = Counter(line["model"] for line in ledger if line["event"] == "replica_ready")
    assert ready == dict.fromkeys(MODELS, 1)
    assert sweep.summary["loads"] == len(MODELS)


def test_two_vllm_engines_run_at_once(sweep: Sweep) -> None:
    """Each in its placement group; that such groups lie on several nodes is shown in driver/test_placement_group.py."""
    lines = [json.loads(line) for line in (sweep.run_dir / "ledger.jsonl").read_text().splitlines()]
    models = {line["replica"]: line["model"] for line in lines if line["event"] == "replica_ready"}
    alive: set[str] = set()
    together = []
    for line in lines:
        if line["event"] == "replica_ready":
            alive.add(line["model"])
        elif line["event"] == "replica_stopped":
            alive.discard(models[line["replica"]])
        together.append(frozenset(alive))
    assert any({"tiny_llama", "tiny_idefics3"} <= names for names in together)


def test_every_job_has_its_hydra_folder(sweep: Sweep) -> None:
    chosen = set()
    for number in range(NUM_CELLS * len(OPTIONS)):
        composed = yaml.safe_load((sweep.run_dir / ".hydra" / str(number) / "config.yaml").read_text())
        chosen.add((composed["model"]["name"], composed["setting"]["name"]))
    assert chosen == {(model, setting) for model in MODELS for setting in SETTINGS}


def test_every_answer_and_every_verdict_is_there_once(sweep: Sweep) -> None:
    rows = sweep.rows()
    assert Counter(row["step"] for row in rows) == {
        "answer": NUM_CELLS * NUM_SAMPLES,
        "verdict": 4 * NUM_CELLS * NUM_SAMPLES,
    }
    assert len({(row["step_id"], row["sample_id"]) for row in rows}) == len(rows)
    assert all(row["text"] for row in rows)
    assert all(0 < row["completion_tokens"] <= 12 for row in rows if row["step"] == "answer")


def test_the_summary_counts_them(sweep: Sweep) -> None:
    summary = sweep.summary
    num_requests = 5 * NUM_CELLS * NUM_SAMPLES
    assert (summary["requests"], summary["completions_new"], summary["errors"]) == (num_requests, num_requests, 0)
    assert [row["n"] for row in summary["rows"]] == [NUM_SAMPLES] * NUM_CELLS * len(OPTIONS)


def test_every_verdict_has_one_boolean_per_trigger(sweep: Sweep) -> None:
    dataset = open_dataset("package:demo")
    num_triggers = {sample.sample_id: len(sample.targets) for sample in dataset.samples(0, NUM_SAMPLES)}
    assert len(set(num_triggers.values())) > 1
    for row in sweep.rows():
        if row["step"] == "verdict" and '"named"' in row["text"]:
            named = json.loads(row["text"], strict=False)["named"]  # xgrammar lets bare control characters through
            assert list(named) == [str(number) for number in range(1, num_triggers[row["sample_id"]] + 1)]
            assert all(isinstance(value, bool) for value in named.values())
    assert [row["statuses"] for row in sweep.of("named")] == [{"ok": 2 * NUM_SAMPLES}] * NUM_CELLS


def test_verdicts_are_read_although_a_random_model_ends_no_explanation(sweep: Sweep) -> None:
    for judge, key, metric in (("correct_by_tiny", "correct", "accuracy"), ("rated_by_tiny", "rating", "helpfulness")):
        rows = [row for row in sweep.rows() if (row["text"] or "").startswith(f'{{"{key}"')]
        assert len(rows) == NUM_CELLS * NUM_SAMPLES
        assert any(row["finish_reason"] == "length" for row in rows)
        assert [row["statuses"] for row in sweep.of(judge)] == [{"ok": NUM_SAMPLES}] * NUM_CELLS
        assert {row["metric"] for row in sweep.of(judge)} == {metric}
    assert {int(row["text"].partition(":")[2].partition(",")[0]) for row in rows} <= {-10, 0, 10}


def test_a_judge_that_draws_differs_from_itself(sweep: Sweep) -> None:
    noises = [row["repeat_noise"] for row in sweep.of("named")]
    assert [(noise["repeats"], noise["n"]) for noise in noises] == [(2, NUM_SAMPLES)] * NUM_CELLS
    assert max(noise["differ"] for noise in noises) > 0


def test_the_model_that_sees_is_not_the_one_that_does_not(sweep: Sweep) -> None:
    sees = {row["model"]: row["sees_image"] for row in sweep.summary["rows"]}
    assert sees == {"tiny_llama": False, "tiny_idefics3": True, "tiny_video_llava": True}


def test_a_prompt_is_shown_as_the_model_read_it(sweep: Sweep) -> None:
    """Rendered again without the engine, it has as many tokens as the engine counted, pictures included."""
    sample_id = open_dataset("package:demo").samples(0, 1)[0].sample_id
    command = [sys.executable, "-m", "eibench_ray.cli.app", "show", str(sweep.run_dir), "--sample", sample_id, "--json"]
    done = subprocess.run(command, cwd=sweep.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = [step for step in json.loads(done.stdout.splitlines()[-1])["steps"] if step["engine"] != "tiny_llama"]
    assert {step["trace"] for step in steps} == {"sent"}
    assert len(steps) == 2 * len(SETTINGS)
    for step in steps:
        assert step["prompt"]["num_tokens"] == step["completion"]["prompt_tokens"], step["prompt_note"]

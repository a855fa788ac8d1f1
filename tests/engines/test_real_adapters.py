"""Two adapters and their base in one vLLM engine, beside checkpoints with the same adapters merged, in transformers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from needed import need
from tiny_adapter import write_adapter

from eibench_ray.weights.build import build_checkpoint

need("vllm", "the engines need eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

NUM_SAMPLES = 4
RANKS = {"fine": 4, "coarse": 9}
CHANGED = ("q_proj", "v_proj", "o_proj", "gate_proj", "down_proj")
MODELS = ("fine", "base", "coarse", "broken", "base_alone", "fine_merged", "coarse_merged")


@dataclass(frozen=True)
class Sweep:
    """The command's summary, its ledger, and the rows of its answers."""

    summary: dict[str, Any]
    ledger: list[dict[str, Any]]
    rows: dict[str, list[dict[str, Any]]]  # answers by model

    def texts(self, model: str) -> list[str]:
        return [row["text"] for row in sorted(self.rows[model], key=lambda row: row["sample_id"])]


def write_models(folder: Path) -> None:
    """Writes adapters, merged checkpoints, and a model option for each."""
    from safetensors.torch import load_file, save_file

    base, options = build_checkpoint("tiny_llama"), folder / "conf" / "model"
    options.mkdir(parents=True)
    weights = {name: tensor.float() for name, tensor in load_file(base / "model.safetensors").items()}
    layers = {
        name.removesuffix(".weight"): (tensor.shape[0], tensor.shape[1])
        for name, tensor in weights.items()
        if name.removesuffix(".weight").endswith(CHANGED)
    }
    shutil.copytree(base, folder / "base_alone")
    engines: dict[str, dict[str, Any]] = {"base": {}, "base_alone": {"source": str(folder / "base_alone")}}
    for seed, (name, rank) in enumerate(RANKS.items()):
        added = write_adapter(folder / name, layers, seed=seed, rank=rank)
        merged = folder / f"{name}_merged"
        shutil.copytree(base, merged)
        whole = {key: tensor + added[key] if key in added else tensor for key, tensor in weights.items()}
        save_file(whole, merged / "model.safetensors", metadata={"format": "pt"})
        engines[name] = {"lora": {"source": str(folder / name), "rank": rank}}
        engines[merged.name] = {"source": str(merged)}
    # Its layers are unknown before vLLM unpickles them, and it cannot.
    shutil.copytree(folder / "fine", folder / "broken")
    (folder / "broken" / "adapter_model.safetensors").unlink()
    (folder / "broken" / "adapter_model.bin").write_bytes(b"no pickle")
    engines["broken"] = {"lora": {"source": str(folder / "broken"), "rank": 4}}
    for name, engine in engines.items():
        # Whole checkpoints are asked in transformers, which starts in a third of vLLM's time.
        parent = "tiny_video_llava" if "source" in engine else "tiny_llama"
        option = {"defaults": [parent, "_self_"], "name": name, "sees_image": False, "engine": engine}
        (options / f"{name}.yaml").write_text(json.dumps(option))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("sweep")
    write_models(folder)
    arguments = (
        f"-m model={','.join(MODELS)} setting=user_question judge=echo dataset=demo dataset.limit={NUM_SAMPLES} "
        "tracking=none setting.sampling.max_tokens=24 cluster.num_cpus=2"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "eibench_ray.cli.app", "run", "--json", "--config-dir", str(folder / "conf")]
    done = subprocess.run(
        [*command, *arguments.split()], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    ledger = [json.loads(line) for line in (Path(summary["run_dir"]) / "ledger.jsonl").read_text().splitlines()]
    rows: dict[str, list[dict[str, Any]]] = {}
    for step in (folder / "store" / "steps").iterdir():
        what = json.loads((step / "manifest.json").read_text())["step"]
        if what["name"] == "answer":
            found = [row for file in step.glob("slice-*.parquet") for row in pq.read_table(file).to_pylist()]
            rows.setdefault(what["model"], []).extend(found)
    return Sweep(summary, ledger, rows)


def test_adapters_and_their_base_are_one_load(sweep: Sweep) -> None:
    ready = Counter(line["model"] for line in sweep.ledger if line["event"] == "replica_ready")
    del ready["echo"]
    assert ready == {"base": 1, "base_alone": 1, "fine_merged": 1, "coarse_merged": 1}


@pytest.mark.parametrize(
    ("name", "same"), [("base", "base_alone"), ("fine", "fine_merged"), ("coarse", "coarse_merged")]
)
def test_each_answers_as_weights_without_adapters_do(sweep: Sweep, name: str, same: str) -> None:
    assert sweep.texts(name) == sweep.texts(same)


def test_adapters_and_base_answer_otherwise_beside_each_other(sweep: Sweep) -> None:
    texts = [sweep.texts(name) for name in ("base", *RANKS)]
    for rows in zip(*texts, strict=True):
        assert len(set(rows)) == len(texts)


def test_rows_say_which_adapter_answered(sweep: Sweep) -> None:
    assert all(row["engine"].endswith("/fine") for row in sweep.rows["fine"])
    assert not any(" + " in row["engine"] for row in sweep.rows["base"])


def test_an_adapter_that_does_not_load_costs_its_own_rows(sweep: Sweep) -> None:
    assert len(sweep.rows["broken"]) == NUM_SAMPLES
    assert all(row["error_kind"] == "engine" and "/broken: " in row["error"] for row in sweep.rows["broken"])

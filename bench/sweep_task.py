"""A sweep as a file that any peer can read, its dataset with stand-in pictures, and the replies of our own run of it.

The task file has everything that decides what is asked: checkpoints with their settings, prompts as Jinja texts,
limits, samples, pictures. Peers (bench/peers) ask the same and write `STEP.jsonl` with one row per sample;
`compare_rows` says how many of these rows have the prompt tokens and the reply that our store has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.runs.find_run import FoundRun, find_run
from eibench_ray.weights.build import build_checkpoint

GIB = 1 << 30
REPOSITORY = Path(__file__).resolve().parents[1]
CHECKPOINTS = {"quiz": ("smollm2_135m", "tiny_llama"), "pictures": ("smollm2_135m", "tiny_llama", "tiny_idefics3")}


@dataclass(frozen=True, slots=True)
class Said:
    """One row of a step: tokens of its prompt, and its reply."""

    prompt_tokens: int
    completion_tokens: int
    text: str


def prepare_sweep(name: str, work: Path) -> list[str]:
    """Builds what a sweep reads, and returns the arguments of `eibench-ray run` that say where it is.

    Raises:
        SystemExit: EIBench's annotations are needed, and not there.
    """
    for checkpoint in CHECKPOINTS[name]:
        build_checkpoint(checkpoint)
    if name == "quiz":
        return []
    source = os.environ.get("EIBENCH_CLONE", REPOSITORY.parent / "shared" / "eibench")
    if not Path(source, "user.jsonl").is_file():
        raise SystemExit("set EIBENCH_CLONE to a clone of EIBench: the sweep over pictures asks its questions")
    _turn_round(build_checkpoint("tiny_idefics3"), work / "tiny_idefics3_other")
    if not (work / "data").is_dir():
        standins = [sys.executable, REPOSITORY / "scripts" / "standin_images.py"]
        prepare = [sys.executable, "-m", "eibench_ray.cli.app", "prepare", "eibench", "--subset", "basic"]
        places = ["--source", source, "--images", work / "images", "--out", work / "data"]
        for command in ([*standins, "--source", source, "--out", work / "images"], [*prepare, *places]):
            subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return [f"dataset.path={work / 'data' / 'eibench_basic'}", "dataset.name=eibench_basic"]


def _turn_round(checkpoint: Path, folder: Path) -> None:
    """Writes another random model: the same one with the rows of each layer's matrices in reverse order."""
    if folder.is_dir():
        return
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint, folder)
    tensors = load_file(folder / "model.safetensors")
    turned = {name: tensor.flip(0).contiguous() if "_proj" in name else tensor for name, tensor in tensors.items()}
    save_file(turned, folder / "model.safetensors", metadata={"format": "pt"})


def open_run(folder: Path) -> FoundRun:
    """The run of a folder, which has to be finished.

    Raises:
        SystemExit: it is not.
    """
    found = find_run(str(folder))
    if found.status.state != "finished":
        raise SystemExit(f"our own run is {found.status.state}: {found.folder / 'driver.log'}")
    return found


def write_task(run: FoundRun, work: Path) -> tuple[Path, int]:
    """Writes task.json and the pictures of its samples; returns its path, and the number of samples."""
    plan = run.manifest.plan
    spec = next(iter(plan.datasets.values()))
    dataset = open_dataset(spec.path)
    samples = dataset.samples(0, spec.num_rows)
    images = dataset.images(0, spec.num_rows, [sample.sample_id for sample in samples if sample.media])
    (work / "pictures").mkdir(exist_ok=True)
    rows = []
    for number, sample in enumerate(samples):
        row: dict[str, Any] = {"id": sample.sample_id, "words": {**sample.inputs, "targets": list(sample.targets)}}
        if content := images.get(sample.sample_id):
            path = work / "pictures" / f"{number}{Path(sample.media[0].path).suffix}"
            path.write_bytes(content[0])
            row["picture"] = str(path)
        rows.append(row)
    engines = {}
    for key, engine in plan.engines.items():
        settings = engine.settings
        source = str(settings["source"])
        engines[key] = {
            "name": engine.name,
            "model": str(build_checkpoint(source.partition(":")[2])) if source.startswith("checkpoint:") else source,
            "dtype": settings["dtype"],
            "max_model_len": settings["max_model_len"],
            "max_num_seqs": settings["max_num_seqs"],
            "kv_cache_memory_bytes": int(settings["kv_cache_gib"] * GIB),
        }
    steps = {step: _describe(run, step) for step in plan.steps}
    path = work / "task.json"
    path.write_text(json.dumps({"engines": engines, "steps": steps, "samples": rows}, indent=1), encoding="utf-8")
    return path, len(rows)


def _describe(run: FoundRun, step_id: str) -> dict[str, Any]:
    plan = run.manifest.plan
    step = plan.steps[step_id]
    cell = next(cell for cell in plan.cells if step_id in cell.steps)
    return {
        "cell": f"{cell.model}/{cell.setting}" + (f"/{cell.judge}" if step.inputs else ""),
        "engine": step.engine,
        "system": step.prompt.system,
        "prompt": step.prompt.user,
        "sees_picture": step.prompt.image and plan.engines[step.engine].most_images > 0,
        "max_tokens": step.sampling.max_tokens,
        "temperature": step.sampling.temperature,
        "top_p": step.sampling.top_p,
        "answer": step.inputs.get("answer"),
    }


def read_own_rows(run: FoundRun) -> dict[str, dict[str, Said]]:
    """Step -> sample -> what was said in our own run."""
    plan = run.manifest.plan
    spec = next(iter(plan.datasets.values()))
    ids = [sample.sample_id for sample in open_dataset(spec.path).samples(0, spec.num_rows)]
    return {
        step: {
            name: Said(row.prompt_tokens, row.completion_tokens, row.text or "")
            for name, row in run.store.read_rows(step, 0, ids).items()
        }
        for step in plan.steps
    }


def compare_rows(own: Mapping[str, Mapping[str, Said]], folder: Path) -> dict[str, Any]:
    """Counts of a peer's rows that are as ours are.

    A verdict about another answer counts, too: its prompt and its reply may differ.
    """
    counts = dict.fromkeys(("rows", "equal_prompt_tokens", "equal_texts", "tokens", "own_tokens"), 0)
    for step, rows in own.items():
        lines = (folder / f"{step}.jsonl").read_text(encoding="utf-8").splitlines()
        theirs = {line["id"]: line for line in map(json.loads, lines)}
        if theirs.keys() != rows.keys():
            raise SystemExit(f"{folder.name} has {len(theirs)} rows of a step, {len(rows)} were to be asked")
        for name, said in rows.items():
            line = theirs[name]
            counts["rows"] += 1
            counts["equal_prompt_tokens"] += line["prompt_tokens"] == said.prompt_tokens
            counts["equal_texts"] += line["text"] == said.text
            counts["tokens"] += line["completion_tokens"]
            counts["own_tokens"] += said.completion_tokens
    return counts

"""CPU and memory of the commands that read a large store whose rows are all there: run, report, verify, export.

    python -m bench.score_cells [--models 20] [--settings 3] [--judges 3] [--samples 1615] [--commands run,compare,..]

Text-only samples with four targets each, asked by some models in some settings and judged by some judges who reply in
JSON: models x settings answers and as many verdicts per judge, made up and written by columns. Each command is
`eibench-ray`, from its start; cpu_s is what the kernel counted for it and the processes that it started, mb its
largest resident set. `run` scores cold, as the store holds no scores yet; the commands after it find them, unless
--cold removes them before each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bench.driver_rows import EMOTIONS, write_dataset
from bench.result_file import write_result

if TYPE_CHECKING:
    from eibench_ray.plan.graph import Step
    from eibench_ray.runs.planning import PlannedSweep

SETTINGS = ("user_question", "user_question_cot", "question", "question_short")
WORDS = "The train left without him and nobody answers, so he looks along the rails once more and waits. " * 3


def write_options(folder: Path, num_models: int, num_judges: int) -> None:
    """Options of echo engines that differ in a key of their identity, as models and as judges."""
    for group, number, base in (("model", num_models, "echo"), ("judge", num_judges, "strict")):
        (folder / group).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            name = f"{group}_{index:03d}"
            engine = f"engine: {{fails_on: never {name}}}"
            lines = ["defaults:", f"  - {base}", "  - _self_", "", f"name: {name}", engine]
            if group == "judge":
                lines[2:4] = ["  - override /model@model: echo", "  - _self_", ""]
                lines[-1] = f"model: {{{engine}}}"
            (folder / group / f"{name}.yaml").write_text("\n".join([*lines, ""]))


def choose(folder: Path, args: argparse.Namespace) -> list[str]:
    """The command line of the sweep."""
    models = ",".join(f"model_{index:03d}" for index in range(args.models))
    judges = ",".join(f"judge_{index:03d}" for index in range(args.judges))
    chosen = [f"model={models}", f"judge={judges}", f"setting={','.join(SETTINGS[: args.settings])}"]
    chosen += ["dataset=prepared", "tracking=none", "dataset.name=synthetic", "dataset.group_by=[emotion]"]
    chosen += [f"dataset.path={folder / 'dataset'}", f"store.root={folder / 'store'}"]
    return [*chosen, f"report.html={str(args.html).lower()}"]


def plan(folder: Path, args: argparse.Namespace) -> PlannedSweep:
    """The sweep as the command plans it."""
    from eibench_ray.cli.hydra_entry import call_hydra
    from eibench_ray.config.load import to_config
    from eibench_ray.runs.planning import plan_sweep

    found: list[PlannedSweep] = []

    def note(jobs: Sequence[Any], _: Path) -> None:
        found.append(plan_sweep([to_config(job.raw) for job in jobs], must_exist=True))

    call_hydra(note, ["-m", "--config-dir", str(folder / "options"), *choose(folder, args)], leaves_traces=False)
    return found[0]


def write_step(folder: Path, slice_rows: int, step: Step, inputs: Mapping[str, list[str]]) -> list[str]:
    """Commits a step's slices as a run would have; the output digests of its rows."""
    from eibench_ray.datasets.dataset import open_dataset
    from eibench_ray.plan.slices import cut
    from eibench_ray.rows.completion import digest_output
    from eibench_ray.rows.digests import digest, digest_input
    from eibench_ray.store.slice_format import SCHEMA, encode_table
    from eibench_ray.store.slice_store import Store
    from eibench_ray.store.slice_summary import Summary, digest_column, digest_sources

    store, index = Store(folder / "store"), open_dataset(str(folder / "dataset")).index()
    store.fix_slice_rows(step.id, slice_rows, {"name": "bench"})
    salt = int(step.id[:6], 16)
    outputs: list[str] = []
    for slice_ in cut(step.id, range(index.num_rows), slice_rows):
        samples = list(index.rows(slice_.start, slice_.stop))
        numbers = range(slice_.start, slice_.stop)
        texts = [make_text(step, salt, number) for number in numbers]
        digests = [digest_output(None, text) for text in texts]
        read = [inputs[source][slice_.start : slice_.stop] for source in step.inputs.values()]
        size = len(samples)
        columns: dict[str, Any] = {
            "sample_id": [sample_id for sample_id, _ in samples],
            "request_digest": [digest([step.id, sample_id]) for sample_id, _ in samples],
            "text": texts,
            "finish_reason": ["stop"] * size,
            "prompt_tokens": [60] * size,
            "completion_tokens": [25 + number % 7 for number in numbers],
            "cached_tokens": [0] * size,
            "attempt": [1] * size,
            "latency_s": [0.5 + number % 11 / 10 for number in numbers],
            "finished_at": [1.8e9 + number for number in numbers],
            "engine": ["echo 0.1.0"] * size,
            "run_id": ["bench"] * size,
            "input_digest": [
                digest_input(row_digest, [column[row] for column in read])
                for row, (_, row_digest) in enumerate(samples)
            ],
            "output_digest": digests,
        }
        rows_digest = digest_column(row_digest for _, row_digest in samples)
        made_from = digest_sources(rows_digest, map(digest_column, read))
        summary = Summary(None, made_from, digest_column(digests), size, is_final=True)
        arrays = [
            pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(size, field.type)
            for field in SCHEMA
        ]
        content = encode_table(pa.Table.from_arrays(arrays, schema=SCHEMA), summary)
        Path(store.paths.slice(step.id, slice_.index)).write_bytes(content)
        outputs += digests
    return outputs


def make_text(step: Step, salt: int, number: int) -> str:
    """An answer, or a judge's JSON about four targets; one in 97 is broken."""
    chance = (number * 2654435761 + salt * 40503) >> 4
    if step.scorer is None:
        return WORDS[: 120 + chance % 160] + str(chance % 1000)
    if chance % 97 == 0:
        return "I cannot say."
    named = {str(target): (chance >> target) % 3 > 0 for target in range(1, 5)}
    return json.dumps({"explanation": WORDS[chance % 90 :][:110], "named": named})


def write_all(folder: Path, args: argparse.Namespace) -> None:
    """Writes options, dataset and all rows."""
    write_options(folder / "options", args.models, args.judges)
    write_dataset(folder / "dataset", args.samples)
    sweep = plan(folder, args)
    steps = list(sweep.plan.steps.values())
    outputs: dict[str, list[str]] = {}
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        while steps:
            ready = [step for step in steps if outputs.keys() >= set(step.inputs.values())]
            steps = [step for step in steps if step not in ready]
            futures = {
                step.id: pool.submit(
                    write_step,
                    folder,
                    args.slice_rows,
                    replace(step, examples=None),
                    {source: outputs[source] for source in step.inputs.values()},
                )
                for step in ready
            }
            outputs |= {step_id: future.result() for step_id, future in futures.items()}
    left = plan(folder, args)
    if not left.is_complete:
        raise SystemExit("the store lacks rows that were written")


def write_claims(folder: Path, args: argparse.Namespace) -> Path:
    """Writes claims about each cell, for `verify` to check."""
    path = folder / "claims.csv"
    cells = product(SETTINGS[: args.settings], range(args.models), range(args.judges), ("overall", *EMOTIONS))
    lines = [
        f"synthetic,{setting},model_{model:03d},judge_{judge:03d},{emotion},50.00,{args.samples},made up,bench"
        for setting, model, judge, emotion in cells
    ]
    header = "dataset,setting,model,judge,emotion,recall_percent,samples,label,source"
    path.write_text("\n".join([header, *lines, ""]))
    return path


def time_command(arguments: Sequence[str]) -> dict[str, float]:
    """CPU seconds, seconds and MB of a command, as the kernel counted them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "eibench_ray.cli.app", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    started = time.monotonic()
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{arguments[0]} ended with {process.returncode}: {said.decode()[-2000:]}")
    return {
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "s": round(time.monotonic() - started, 2),
        "mb": round(used.ru_maxrss * 1024 / 1e6),
    }


def measure(folder: Path, args: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Yields each command with its figures."""
    run = folder / "run"
    sweep = ["-m", "--config-dir", str(folder / "options"), *choose(folder, args), f"hydra.sweep.dir={run}"]
    lines: dict[str, list[str]] = {
        "plan": ["plan", *sweep[:-1]],
        "run": ["run", *sweep],
        "report": ["report", str(run)],
        "rescore": ["rescore", str(run)],
        "compare": ["compare", str(run)],
        "export": ["export", str(run), "--out", str(folder / "export")],
        "script": ["export", str(run), "--out", str(folder / "script"), "--as", "eibench"],
        "verify": ["verify", str(run), "--claims", str(write_claims(folder, args))],
        "fsck": ["fsck", str(folder / "store")],
    }
    for name in args.commands.split(","):
        if name == "run" and run.exists():
            shutil.rmtree(run)
        if args.cold and (folder / "store" / "scores").exists():
            shutil.rmtree(folder / "store" / "scores")
        yield name, time_command(lines[name])
        for left in ("export", "script"):
            shutil.rmtree(folder / left, ignore_errors=True)


def main() -> None:
    """Measures one store."""
    parser = argparse.ArgumentParser(description="Measure the commands that read a complete store.")
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--settings", type=int, default=3, choices=range(1, len(SETTINGS) + 1))
    parser.add_argument("--judges", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1615)
    parser.add_argument("--slice-rows", type=int, default=64, help="rows per slice (default: 64, what auto takes)")
    parser.add_argument("--html", action="store_true", help="let `run` write the page, too")
    parser.add_argument("--cold", action="store_true", help="remove the stored scores before each command")
    parser.add_argument("--commands", default="plan,run,report,rescore,compare,export,fsck")
    parser.add_argument("--folder", type=Path, help="keep the store here, and use the one that is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="score_cells_") as scratch:
        folder = args.folder or Path(scratch)
        if not (folder / "store").exists():
            write_all(folder, args)
        shape = f"{args.models}x{args.settings}x{args.judges} cells, {args.samples} samples"
        lines = [{"shape": shape, "command": name, **figures} for name, figures in measure(folder, args)]
    write_result("score_cells", {"slice_rows": args.slice_rows, "cold": args.cold}, lines)


if __name__ == "__main__":
    main()

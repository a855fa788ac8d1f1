"""Time that a run takes to see what a large store has, and to begin with what it lacks.

    python -m bench.resume_rows [--rows 1000000] [--slice-rows 256]

A dataset of N/4 text-only samples, asked in two settings and judged: four steps with N committed rows, less one slice
that is taken away. plan_s and plan_cpu_s are what planning takes, peak_mb its largest resident set; first_task_s what
`eibench-ray run` takes from its start, with Python, Hydra and Ray, to the first slice that it hands out. The files were
just written: they are in memory as far as it holds them.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.driver_rows import write_dataset
from bench.result_file import write_result

if TYPE_CHECKING:
    from eibench_ray.runs.planning import PlannedSweep

SLICE_ROWS = 256  # the most that `auto` takes
SETTINGS = ("user_question", "user_question_cot")
NUM_STEPS = 4
DEADLINE_S = 600.0


def choose(folder: Path, slice_rows: int) -> list[str]:
    """The options of the sweep, but for its settings."""
    chosen = ["model=echo", "judge=echo", "dataset=prepared", "tracking=none", "dataset.name=synthetic"]
    chosen += [f"dataset.path={folder / 'dataset'}", f"store.root={folder / 'store'}"]
    return [*chosen, f"store.slice_rows={slice_rows}", "cluster.num_cpus=2"]


def plan(folder: Path, slice_rows: int) -> PlannedSweep:
    """The sweep, and how far it is."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from eibench_ray.config.load import to_config
    from eibench_ray.config.options_folder import config_folder
    from eibench_ray.runs.planning import plan_sweep

    configs = []
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        for setting in SETTINGS:
            raw: Any = OmegaConf.to_container(compose("config", [*choose(folder, slice_rows), f"setting={setting}"]))
            configs.append(to_config(raw))
    return plan_sweep(configs, must_exist=True)


def write_rows(folder: Path, slice_rows: int, part: int, num_parts: int) -> None:
    """Commits every `num_parts`-th slice of all steps, as a run of the echo engine would."""
    from eibench_ray.datasets.dataset import open_dataset
    from eibench_ray.plan.slices import cut
    from eibench_ray.rows.completion import Completion
    from eibench_ray.rows.digests import digest, digest_input
    from eibench_ray.store.slice_summary import digest_column, digest_sources

    sweep = plan(folder, slice_rows)
    index = open_dataset(str(folder / "dataset")).index()
    words = "The train left without him and nobody answers, so he looks along the rails once more and waits. "
    for slice_ in list(cut("", index.num_rows, slice_rows))[part::num_parts]:
        samples = list(index.rows(slice_.start, slice_.stop))
        outputs: dict[str, list[str]] = {}
        for step in sweep.plan.steps.values():
            read = [outputs[source] for source in step.inputs.values()]
            rows = [
                Completion(
                    sample_id=sample_id,
                    request_digest=digest([step.id, sample_id]),
                    text=f"{words}{slice_.start + row}",
                    error_kind=None,
                    error=None,
                    finish_reason="stop",
                    prompt_tokens=60,
                    completion_tokens=25,
                    cached_tokens=0,
                    attempt=1,
                    latency_s=0.5,
                    finished_at=1.8e9,
                    engine="echo 0.1.0",
                    run_id="bench",
                    input_digest=digest_input(row_digest, [column[row] for column in read]),
                )
                for row, (sample_id, row_digest) in enumerate(samples)
            ]
            outputs[step.id] = [row.output_digest for row in rows]
            made_from = digest_sources(digest_column(digest_ for _, digest_ in samples), map(digest_column, read))
            sweep.store.write_slice(step.id, slice_.index, rows, num_asked=len(rows), made_from=made_from)


def prepare(folder: Path, num_rows: int, slice_rows: int) -> None:
    """Writes the dataset, and all rows but those of one slice."""
    write_dataset(folder / "dataset", num_rows // NUM_STEPS)
    sweep = plan(folder, slice_rows)
    for step_id in sweep.plan.steps:
        sweep.store.fix_slice_rows(step_id, slice_rows, {"name": "bench"})
    num_parts = os.cpu_count() or 1
    with ProcessPoolExecutor(num_parts, get_context("spawn")) as pool:
        parts = [pool.submit(write_rows, folder, slice_rows, part, num_parts) for part in range(num_parts)]
        for part in parts:
            part.result()
    take_away(sweep)


def take_away(sweep: PlannedSweep) -> None:
    """Removes one slice of the last step, so that there is something to do."""
    verdict = sweep.plan.cells[-1].verdicts[0]
    sweep.store.storage.remove(sweep.store.paths.slice(verdict, sweep.store.list_slices(verdict)[-1] // 2))


def time_plan(folder: Path, slice_rows: int) -> tuple[float, float, float]:
    """Seconds, seconds of CPU and MB that planning takes, in this process."""
    started, started_cpu = time.monotonic(), time.process_time()
    sweep = plan(folder, slice_rows)
    seconds, cpu = time.monotonic() - started, time.process_time() - started_cpu
    if [len(left.todo) for left in sweep.work.values()].count(1) != 1 or sum(
        left.num_rows - left.num_done for left in sweep.work.values()
    ) > slice_rows:
        raise SystemExit("other rows are left than those of the slice that was taken away")
    return seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def time_first_task(folder: Path, slice_rows: int) -> float:
    """Seconds from the start of `eibench-ray run` to the first slice that it hands out."""
    command = [sys.executable, "-m", "eibench_ray.cli.app", "run", "-m", *choose(folder, slice_rows)]
    command += [f"setting={','.join(SETTINGS)}", f"hydra.sweep.dir={folder / 'run'}"]
    ledger = folder / "run" / "ledger.jsonl"
    started = time.monotonic()
    with subprocess.Popen(command, stdout=sys.stderr) as running:
        try:
            while not (ledger.exists() and '"slice_sent"' in ledger.read_text()):
                if running.poll() is not None or time.monotonic() - started > DEADLINE_S:
                    raise SystemExit(f"the run handed nothing out ({running.returncode})")
                time.sleep(0.05)
            return time.monotonic() - started
        finally:
            running.send_signal(signal.SIGINT)
            time.sleep(1.0)
            running.send_signal(signal.SIGINT)
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()


def in_own_process(function: Any, *arguments: Any) -> Any:
    """Returns the function's result from a process of its own, whose peak is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(folder: Path, num_rows: int, slice_rows: int) -> dict[str, Any]:
    """The figures of one size."""
    started = time.monotonic()
    in_own_process(prepare, folder, num_rows, slice_rows)
    prepared = time.monotonic()
    plan_s, plan_cpu_s, peak_mb = in_own_process(time_plan, folder, slice_rows)
    first_task_s = time_first_task(folder, slice_rows)
    return {
        "rows": num_rows,
        "slice_rows": slice_rows,
        "prepare_s": round(prepared - started),
        "plan_s": round(plan_s, 2),
        "plan_cpu_s": round(plan_cpu_s, 2),
        "peak_mb": round(peak_mb),
        "first_task_s": round(first_task_s, 2),
    }


def main() -> None:
    """Measures one store."""
    parser = argparse.ArgumentParser(description="Measure what a run needs to resume.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="committed rows (default: 1,000,000)")
    parser.add_argument("--slice-rows", type=int, default=SLICE_ROWS, help=f"rows per slice (default: {SLICE_ROWS})")
    parser.add_argument("--prepare", type=Path, help="only write the store, into this folder")
    args = parser.parse_args()
    if args.prepare:
        prepare(args.prepare, args.rows, args.slice_rows)
        return
    with tempfile.TemporaryDirectory(prefix="resume_rows_") as folder:
        line = measure(Path(folder), args.rows, args.slice_rows)
    write_result("resume_rows", {}, [line])


if __name__ == "__main__":
    main()

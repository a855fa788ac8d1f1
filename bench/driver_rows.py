"""Rows per second of a whole run whose engine costs nothing: what planning, dispatch, rendering and Parquet cost.

    python -m bench.driver_rows [--samples 50000 500000] [--slice-rows 1024] [--replicas 2]

A dataset of N text-only samples is asked and judged by the echo engine: 2 N rows, in slices of 1,024, on two replicas
(a replica is one process, and two cores are what the figure allows). rows_per_s counts from the first replica that is
ready to the last slice that is committed; asking_rss_mb is the driver's largest resident set until it scores, and
peak_rss_mb with scoring; resume_s is what the next run takes to see that nothing is left. Each size runs in a process
of its own, and its dataset is written by another, so that the peak is the run's own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from bench.result_file import write_result

SIZES = (50_000, 500_000)
SLICE_ROWS = 1024
NUM_REPLICAS = 2
EMOTIONS = ("happy", "sadness", "angry", "excitement")


def write_dataset(folder: Path, num_samples: int) -> None:
    """Writes samples about as long as EIBench's: a question of 100 characters, four triggers, a caption."""
    from eibench_ray.datasets.writer import DatasetWriter
    from eibench_ray.rows.sample import Sample

    triggers = ("The train left without him.", "Nobody answers.", "It has begun to rain.", "His bag is open.")
    with DatasetWriter(folder, "Synthetic: text only") as writer:
        for number in range(num_samples):
            sample = Sample(
                f"synthetic/{number:07d}",
                {
                    "question": f"Person {number} stands on a platform and looks along the rails. What might be why?",
                    "caption": f"Person {number} on an empty platform.",
                },
                target=triggers,
                metadata={"emotion": EMOTIONS[number % len(EMOTIONS)], "source": "synthetic"},
            )
            writer.add(sample)


def run_once(num_samples: int, slice_rows: int, num_replicas: int) -> dict[str, Any]:
    """The figures of one run, from nothing to its leaderboard, in this process."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from rich.console import Console

    from eibench_ray.config.load import to_config
    from eibench_ray.config.options_folder import config_folder
    from eibench_ray.runs.planning import plan_sweep
    from eibench_ray.runs.run_record import LEDGER_FILE
    from eibench_ray.runs.run_sweep import run_sweep

    with tempfile.TemporaryDirectory(prefix="driver_rows_") as scratch:
        folder = Path(scratch)
        # The writer remembers every id that it has seen: in a process of its own it leaves nothing behind.
        writer = multiprocessing.get_context("spawn").Process(
            target=write_dataset, args=(folder / "dataset", num_samples)
        )
        writer.start()
        writer.join()
        if writer.exitcode:
            raise SystemExit("the dataset was not written")
        chosen = ["model=echo", "judge=echo", "dataset=prepared", "tracking=none", "dataset.name=synthetic"]
        chosen += [f"dataset.path={folder / 'dataset'}", f"store.root={folder / 'store'}"]
        chosen += [f"store.slice_rows={slice_rows}", f"cluster.max_replicas_per_engine={num_replicas}"]
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            composed = compose("config", chosen)
        before = peak_mb()
        watch = Watch(folder / "run" / LEDGER_FILE)
        started = time.monotonic()
        raw = OmegaConf.to_container(composed, resolve=True)
        assert isinstance(raw, dict)
        configs = [to_config({str(key): value for key, value in raw.items()})]
        sweep = plan_sweep(configs, must_exist=True)
        planned = time.monotonic()
        result = run_sweep(sweep, folder / "run", Console(stderr=True))
        ended = time.monotonic()
        peak = peak_mb()
        if not plan_sweep(configs, must_exist=True).is_complete:
            raise SystemExit("the store has every row, and the next run would not see it")
        planned_again = time.monotonic()
        events = [json.loads(line) for line in (folder / "run" / LEDGER_FILE).read_text().splitlines()]
    rows = int(result.summary["completions_new"])
    if rows != 2 * num_samples:
        raise SystemExit(f"{rows} rows were committed, {2 * num_samples} were asked for")
    ready = next(event["time"] for event in events if event["event"] == "replica_ready")
    seconds = max(event["time"] for event in events if event["event"] == "slice_committed") - ready
    return {
        "samples": num_samples,
        "rows": rows,
        "replicas": sum(event["event"] == "replica_ready" for event in events),
        "seconds": round(seconds, 2),
        "rows_per_s": round(rows / seconds),
        "plan_s": round(planned - started, 2),
        "run_s": round(ended - planned, 2),
        "resume_s": round(planned_again - ended, 2),
        "idle_rss_mb": round(before),
        "asking_rss_mb": round(watch.most_mb),
        "peak_rss_mb": round(peak),
        "resume_peak_rss_mb": round(peak_mb()),
    }


class Watch:
    """The largest resident set of this process, in MB, until its run has asked everything: its ledger says when."""

    def __init__(self, ledger: Path) -> None:
        self.most_mb = 0.0
        self._ledger = ledger
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        process = psutil.Process()
        while not self._has_ended():
            self.most_mb = max(self.most_mb, process.memory_info().rss / 1e6)
            time.sleep(0.1)

    def _has_ended(self) -> bool:
        try:
            with self._ledger.open("rb") as file:
                file.seek(max(0, self._ledger.stat().st_size - 200))
                return b"run_ended" in file.read()
        except FileNotFoundError:
            return False


def peak_mb() -> float:
    """The largest resident set of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux counts in KiB


def main() -> None:
    """Runs every size in a process of its own."""
    parser = argparse.ArgumentParser(description="Measure what a run costs around its engines.")
    parser.add_argument("--samples", type=int, nargs="+", default=SIZES, help="sizes of the dataset")
    parser.add_argument("--slice-rows", type=int, default=SLICE_ROWS, help=f"rows per slice (default: {SLICE_ROWS})")
    parser.add_argument("--replicas", type=int, default=NUM_REPLICAS, help=f"copies (default: {NUM_REPLICAS})")
    parser.add_argument("--here", action="store_true", help="run the one size in this process, print its JSON only")
    args = parser.parse_args()
    if args.here:
        print(json.dumps(run_once(args.samples[0], args.slice_rows, args.replicas)))
        return
    runs = []
    for size in args.samples:
        command = [sys.executable, "-m", "bench.driver_rows", "--here", "--samples", str(size)]
        command += ["--slice-rows", str(args.slice_rows), "--replicas", str(args.replicas)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    write_result("driver_rows", {"slice_rows": args.slice_rows, "replicas": args.replicas}, runs)


if __name__ == "__main__":
    main()

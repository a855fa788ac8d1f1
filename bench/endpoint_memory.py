"""The driver's memory while an endpoint keeps 200 slow requests waiting: a whole run against the tests' fault server.

    python -m bench.endpoint_memory [--rows 1000] [--concurrency 200] [--latency 5]

The server answers each request after some seconds. Requests wait in the replica's process; the driver, which is this
one, sees counts only. asking_mb is its largest resident set until it scores, peak_mb until the leaderboard is there;
most_at_once is what the server saw.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.driver_rows import Watch, peak_mb, write_dataset
from bench.endpoint_limits import events_of, serving
from bench.result_file import write_result
from eibench_ray.runs.run_record import LEDGER_FILE


def run_sweep_against(address: str, folder: Path, concurrency: int) -> Any:
    """The result of a run whose model is behind the address."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from eibench_ray.config.load import to_config
    from eibench_ray.config.options_folder import config_folder
    from eibench_ray.runs.planning import plan_sweep
    from eibench_ray.runs.run_sweep import run_sweep

    chosen = ["model=endpoint", "model.name=tiny", "model.sees_image=false", "model.engine.model=tiny"]
    chosen += [f"model.engine.base_url={address}/v1", f"model.engine.limits.max_concurrency={concurrency}"]
    chosen += ["judge=echo", "tracking=none", "dataset=prepared", "dataset.name=synthetic"]
    chosen += [f"dataset.path={folder / 'dataset'}", f"store.root={folder / 'store'}"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        raw = OmegaConf.to_container(compose("config", chosen), resolve=True)
    assert isinstance(raw, dict)
    sweep = plan_sweep([to_config({str(key): value for key, value in raw.items()})], must_exist=True)
    return run_sweep(sweep, folder / "run", Console(stderr=True))


def most_at_once(begins: list[float], latency_s: float) -> int:
    """The most requests that were under way at the same time."""
    moments = sorted([(at, 1) for at in begins] + [(at + latency_s, -1) for at in begins])
    under_way = most = 0
    for _, change in moments:
        under_way += change
        most = max(most, under_way)
    return most


def main(
    rows: Annotated[int, typer.Option(min=1)] = 1000,
    concurrency: Annotated[int, typer.Option(min=1)] = 200,
    latency: Annotated[float, typer.Option(min=0.0, help="Seconds that the server takes.")] = 5.0,
) -> None:
    """Runs the benchmark."""
    with tempfile.TemporaryDirectory(prefix="endpoint_memory_") as scratch:
        folder = Path(scratch)
        # The writer remembers every id that it has seen: in a process of its own it leaves nothing behind.
        writer = multiprocessing.get_context("spawn").Process(target=write_dataset, args=(folder / "dataset", rows))
        writer.start()
        writer.join()
        watch = Watch(folder / "run" / LEDGER_FILE)
        with serving({"latency_s": latency}) as address:
            result = run_sweep_against(address, folder, concurrency)
            begins = [event["at"] for event in events_of(address)]
    if (new := result.summary["completions_new"]) != 2 * rows:
        raise SystemExit(f"{new} rows were committed, {2 * rows} were asked for")
    figures = {
        "most_at_once": most_at_once(begins, latency),
        "asking_mb": round(watch.most_mb),
        "peak_mb": round(peak_mb()),
    }
    write_result("endpoint_memory", {"rows": rows, "concurrency": concurrency, "latency_s": latency}, [figures])


if __name__ == "__main__":
    typer.run(main)

"""The command: `python -m bench.chaos`."""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import signal
import sys
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.chaos.errors import ChaosError
from bench.chaos.harness import Harness, Plan

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)


class EngineName(StrEnum):
    """Engines that may answer."""

    ECHO = "echo"
    VLLM = "vllm"
    VLLM_TP = "vllm-tp"


@app.command()
def main(
    engine: Annotated[
        EngineName,
        typer.Option(help="echo costs nothing; vllm is three tiny models; vllm-tp two, one over two workers."),
    ] = EngineName.ECHO,
    rows: Annotated[int, typer.Option(min=100, help="Rows of the sweep, over all of its steps.")] = 4000,
    faults: Annotated[int, typer.Option(min=1, help="Faults that hit.")] = 40,
    bucket_faults: Annotated[
        int, typer.Option(min=0, help="Further ones, over a part of the rows in an object store that goes wrong.")
    ] = 6,
    seed: Annotated[int, typer.Option(help="Of the order of the faults, and of what they hit.")] = 0,
    minutes: Annotated[float, typer.Option(min=1, help="After so many, no further fault comes.")] = 30.0,
    slice_rows: Annotated[int, typer.Option(min=1, help="Rows per slice.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Requests that an engine takes at once.")] = 4,
    endings: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="Share of the faults that end the command, which starts again.")
    ] = 0.15,
    latency_s: Annotated[float, typer.Option(min=0.001, help="Seconds that an echo takes.")] = 0.05,
    nodes: Annotated[int, typer.Option(min=1, help="Ray nodes beside the head.")] = 2,
    slots: Annotated[int, typer.Option(min=1, help="Replicas that a node holds.")] = 2,
    peace: Annotated[
        Path | None,
        typer.Option(help="The folder of an earlier chaos run: what it asked in peace is taken from there."),
    ] = None,
    after: Annotated[
        Path | None,
        typer.Option(help="The folder of a chaos run that was cut short: its store goes on, its faults are counted."),
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep everything in this folder, which is new.")] = None,
) -> None:
    """Run a sweep in peace and under faults, compare both, and end with one JSON line. Exits with 1 if they differ."""
    plan = Plan(
        engine=engine.value,
        rows=rows,
        faults=faults,
        bucket_faults=bucket_faults,
        seed=seed,
        seconds=minutes * 60,
        slice_rows=slice_rows,
        batch=batch,
        endings=endings,
        latency_s=latency_s,
        nodes=nodes,
        slots=slots,
        peace=peace,
        after=after,
    )
    folder = keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.absolute()
    chaos_id = secrets.token_hex(6)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # the object store's line per request
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    started = time.monotonic()
    harness = Harness(plan, folder, chaos_id, console)
    try:
        verdict = harness.run()
    except ChaosError as error:
        console.print(f"chaos: {error}. Everything is in {folder}.", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    finally:
        harness.close()
    broken = verdict.broken()
    for line in broken:
        console.print(f"broken: {line}", style="red", highlight=False, soft_wrap=True)
    for line in verdict.examples():
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    if broken:
        console.print(f"Everything is in {folder}.", highlight=False, soft_wrap=True)
    elif keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    facts = {"bench": "chaos", "engine": engine.value, "seed": seed, "seconds": round(time.monotonic() - started)}
    print(json.dumps(facts | verdict.to_json()))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    app()

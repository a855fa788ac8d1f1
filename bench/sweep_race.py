"""A whole sweep, 2 models x 3 settings x 2 judges, from the command to the leaderboard: ours, and the ways of others.

    python -m bench.sweep_race [--sweeps quiz,pictures] [--rows 24] [--systems vllm_step,inspect,..] [--own-once]

Ours and the others take turns, all from nothing but compiled bytecode and checkpoints on the disk; a ratio is another's
time over the mean of our runs before and after it, or with `--own-once` over our only run, for sweeps so long that a
machine's pace has time to even out. Every row of every other is compared with ours: the tokens of its
prompt, and its reply. Systems, all in environments of their own (bench/peers, `make bench-peers`):

    ray_data_step      ray.data.llm, a pipeline per cell and stage: 6 of answers, 12 of verdicts
    ray_data_engine    ray.data.llm, a pipeline per model and one per judge
    vllm_step          a script per cell and stage, which loads the model and calls LLM.chat
    transformers_step  a script per cell and stage, which asks row by row
    inspect            Inspect on vLLM's own servers, all tasks at once

Writes bench/results/sweep_race_SWEEP_ROWS.json after each of them; systems that are not run keep the lines that they
have there.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.result_file import Ratio, write_result
from bench.sweep_task import CHECKPOINTS, REPOSITORY, compare_rows, open_run, prepare_sweep, read_own_rows, write_task
from bench.timed_command import Timing, run_command, timed

PEERS = REPOSITORY / "bench" / "peers"
ENVIRONMENTS = Path(sys.prefix) / "peers"
GOALS = {"ray_data_step": 3.0, "ray_data_engine": 2.0, "vllm_step": 4.0, "transformers_step": 10.0, "inspect": 1.0}
# Of one round on a shared machine, until more rounds say better.
_NOISE = 0.25


def run_own(sweep: str, rows: int, arguments: list[str], work: Path, number: int) -> tuple[Timing, Path]:
    """Our own run, in a store of its own."""
    folder = work / f"own_{number}"
    command: list[str | Path] = [
        Path(sys.executable).parent / "eibench-ray",
        "run",
        "--config-dir",
        REPOSITORY / "bench" / "options",
    ]
    command += [f"experiment=bench_{sweep}", f"dataset.limit={rows}", f"store.root={folder / 'store'}"]
    with timed() as (timing, environment):
        run_command([*command, *arguments, f"hydra.sweep.dir={folder / 'run'}"], environment, work / "own.log", timing)
    return timing, folder / "run"


def run_peer(system: str, task: Path, work: Path) -> Timing:
    """One of the others, from its first command to its last; its rows lie in `work/SYSTEM`."""
    python = ENVIRONMENTS / ("inspect" if system == "inspect" else "vllm") / "bin" / "python"
    if not python.is_file():
        raise SystemExit("the environments of bench/peers are not there: make bench-peers")
    out, log = work / system, work / f"{system}.log"
    name, _, by = system.rpartition("_")
    variables = {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    variables |= {"VLLM_LOGGING_LEVEL": "WARNING", "PYTHONPATH": str(PEERS)}
    with timed() as (timing, environment):
        environment |= variables
        if system == "inspect":
            server = ENVIRONMENTS / "vllm" / "bin" / "python"
            run_command([python, PEERS / "inspect_sweep.py", task, out, server], environment, log, timing)
        elif name == "ray_data":
            run_command([python, PEERS / "ray_data.py", by, task, out], environment, log, timing)
        else:
            for step in order_steps(task):
                run_command([python, PEERS / "one_stage.py", name, task, out, step], environment, log, timing)
    return timing


def order_steps(task: Path) -> list[str]:
    """The steps of a task file, answers before verdicts."""
    steps: dict[str, dict[str, Any]] = json.loads(task.read_text(encoding="utf-8"))["steps"]
    return sorted(steps, key=lambda step: bool(steps[step]["answer"]))


def race(sweep: str, rows: int, systems: list[str], own_once: bool, work: Path) -> None:
    """Runs the systems over one sweep, ours before and after each of them, or once before all."""
    work.mkdir(parents=True, exist_ok=True)
    os.environ["EIBENCH_BENCH_WORK"] = str(work)
    arguments = prepare_sweep(sweep, work)
    before, run_folder = run_own(sweep, rows, arguments, work, 1)
    run = open_run(run_folder)
    task, num_rows = write_task(run, work)
    said = read_own_rows(run)
    settings = {"sweep": sweep, "rows": num_rows, "requests": sum(map(len, said.values()))}
    options = ["--sweeps", sweep, f"--rows={rows}", *(["--own-once"] if own_once else [])]
    for number, system in enumerate(systems, start=2):
        other = run_peer(system, task, work)
        own_runs = [before] if own_once else [before, run_own(sweep, rows, arguments, work, number)[0]]
        line: dict[str, Any] = {"system": system, "s": other.s, "cpu_s": other.cpu_s, "load": other.load}
        line |= {f"own_{name}": [getattr(own, name) for own in own_runs] for name in ("s", "cpu_s", "load")}
        line |= {"commands": len(other.commands), **compare_rows(said, work / system)}
        write_result(
            f"sweep_race_{sweep}_{rows}",
            settings,
            [line],
            ratios_of(line),
            key="system",
            command=lambda keys: ["bench.sweep_race", *options, "--systems", ",".join(keys)],
        )
        before = own_runs[-1]


def main(
    sweeps: str = "quiz,pictures",
    rows: Annotated[int, typer.Option(min=1, help="Samples; the quiz has 80, EIBench 1,615.")] = 24,
    systems: str = ",".join(GOALS),
    own_once: Annotated[
        bool, typer.Option("--own-once", help="Run ours once, not before and after each other.")
    ] = False,
    folder: Annotated[Path | None, typer.Option(help="Keep what is written here. Default: a temporary folder.")] = None,
) -> None:
    """Runs the races."""
    chosen = systems.split(",")
    for given, known in ((chosen, GOALS), (sweeps.split(","), CHECKPOINTS)):
        if unknown := set(given) - known.keys():
            raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    for sweep in sweeps.split(","):
        with tempfile.TemporaryDirectory(prefix="sweep_race_") as scratch:
            race(sweep, rows, chosen, own_once, (folder or Path(scratch)).absolute() / sweep)


def ratios_of(line: dict[str, Any]) -> list[Ratio]:
    """Wall time and CPU time of another over the mean of ours."""
    ratios = []
    for name, goal in (("s", GOALS[line["system"]]), ("cpu_s", None)):
        own = line[f"own_{name}"]
        spread = (max(own) - min(own)) / statistics.mean(own)
        ratio = round(line[name] / statistics.mean(own), 2)
        ratios.append(Ratio(f"{line['system']}: {name}", ratio, round(max(_NOISE, spread), 2), goal, 1))
    return ratios


if __name__ == "__main__":
    typer.run(main)

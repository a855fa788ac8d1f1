"""`eibench-ray run` and `eibench-ray plan`: both compose the same sweep, one of them runs it."""

from __future__ import annotations

import contextlib
import gc
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from eibench_ray.cli.console import PlainConsole, open_console, outlive_terminal
from eibench_ray.cli.open_page import open_page
from eibench_ray.terminal.run_log import lines_shown, phase
from eibench_ray.visible_text import in_line, in_page

if TYPE_CHECKING:
    from eibench_ray.config.hydra_jobs import HydraJob
    from eibench_ray.plan.graph import Cell
    from eibench_ray.runs.run_sweep import SweepResult

AsJson = Annotated[
    bool, typer.Option("--json", help="End with one JSON line on stdout; everything else goes to stderr.")
]
INTERRUPTED = 130


def run(
    context: typer.Context,
    as_json: AsJson = False,
    opens_page: Annotated[
        bool, typer.Option("--open", help="Open the run's page at the end, where there is a desktop.")
    ] = False,
) -> None:
    """Run a sweep: `eibench-ray run experiment=demo`, `eibench-ray run -m model=a,b judge=c dataset=demo`.

    Arguments are Hydra's: overrides, -m, experiment=NAME, --config-dir DIR, --cfg job, --info, --hydra-help.
    """
    from eibench_ray.driver.stop_signals import giving_way

    outlive_terminal()
    # From here on, also while the configuration is composed.
    with giving_way(), lines_shown(), contextlib.ExitStack() as reading:
        from eibench_ray.cli.hydra_entry import call_hydra

        reading.enter_context(phase("reading the configuration", is_told_early=False))
        results: list[SweepResult] = []
        call_hydra(partial(_run, as_json, reading, results), context.args, leaves_traces=True)
    if opens_page and results and (page := results[0].summary.get("page")):
        open_page(Path(page))
    if results and (exit_code := exit_code_of(results[0])):
        raise typer.Exit(exit_code)


def plan(
    context: typer.Context,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="Plan for so many nodes with GPUs, and for twice as many.")
    ] = None,
    gpus_per_node: Annotated[int | None, typer.Option("--gpus-per-node", min=0, help="GPUs of each node.")] = None,
    gpu_memory_gb: Annotated[float | None, typer.Option("--gpu-memory-gb", min=1, help="GB of each GPU.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Show all steps and cells, memory, and what the estimates rest on, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a sweep would do and take, and what the store has of it already. Takes the arguments of `run`.

    The nodes are those of cluster.expect, as far as no option says otherwise; with one, engines are planned for GPUs.
    """
    from eibench_ray.cli.hydra_entry import call_hydra

    given = {"nodes": nodes, "gpus_per_node": gpus_per_node, "gpu_memory_gb": gpu_memory_gb}
    expect = {name: value for name, value in given.items() if value is not None}
    with _collection_paused(), lines_shown(), phase("planning the sweep", is_told_early=False):
        call_hydra(partial(show_plan, as_json, expect, full), context.args, leaves_traces=False)


@contextlib.contextmanager
def _collection_paused() -> Iterator[None]:
    """Leaves garbage where it is: a plan lives for two seconds, of which collecting would take a tenth."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def show_plan(
    as_json: bool,
    expect: Mapping[str, int | float],
    is_full: bool,
    jobs: Sequence[HydraJob],
    folder: Path,  # noqa: ARG001 - a plan writes nothing into a folder
) -> None:
    """Plans all cells and prints the plan.

    Args:
        as_json: whether for programs.
        expect: what to plan for instead of `cluster.expect`, by its keys; where it says something, it is of GPUs.
        is_full: whether everything behind the answer is shown, too.
        jobs: the cells.
        folder: of a run.
    """
    import psutil

    from eibench_ray.config.load import to_config, with_expected_cluster
    from eibench_ray.estimate.plan_json import plan_to_json
    from eibench_ray.estimate.plan_page import render_plan
    from eibench_ray.estimate.time_estimate import estimate_time
    from eibench_ray.runs.measured_speeds import read_measured
    from eibench_ray.runs.planning import plan_sweep
    from eibench_ray.runs.recordings import describe_recordings, match_recordings

    configs = [with_expected_cluster(to_config(job.raw), expect) for job in jobs]
    sweep = plan_sweep(configs, must_exist=False, device="cuda" if expect else None)
    measured = read_measured(sweep.plan, sweep.store)
    cores, ram_gb = os.cpu_count() or 1, psutil.virtual_memory().available / 1e9
    estimates = estimate_time(sweep.plan, sweep.work, sweep.config.cluster, cores, measured, ram_gb=ram_gb)
    store, recordings = sweep.store.root, match_recordings(sweep.plan)
    if as_json:
        planned = plan_to_json(sweep.plan, sweep.work, store, estimates, sweep.budget)
        typer.echo(json.dumps(planned | {"recordings": [asdict(match) for match in recordings]}))
    else:
        console = open_console()
        for part in render_plan(sweep.plan, sweep.work, store, estimates, sweep.budget, is_full=is_full):
            console.print(part)
        for line in describe_recordings(recordings):
            console.print(line, markup=False)


def _run(
    as_json: bool, reading: contextlib.ExitStack, results: list[SweepResult], jobs: Sequence[HydraJob], folder: Path
) -> Any:
    """Runs all cells as one plan; `reading` is closed once the configuration is read."""
    from eibench_ray.config.hydra_jobs import write_jobs
    from eibench_ray.config.load import to_config
    from eibench_ray.errors import ConfigError
    from eibench_ray.runs.planning import plan_sweep
    from eibench_ray.runs.run_sweep import run_sweep

    reading.close()
    console = PlainConsole(stderr=True)
    with phase("planning: reading the datasets and what the store has of them", console, is_told_early=False):
        sweep = plan_sweep([to_config(job.raw) for job in jobs], must_exist=True)
    sweep.check_runnable()
    if jobs[0].hydra.job.chdir:
        raise ConfigError("hydra.job.chdir=true: a run stays in the folder that it was called from; leave it out")
    result = run_sweep(sweep, folder, console, partial(write_jobs, jobs))
    _print(result, sweep.plan.cells, as_json)
    results.append(result)
    return result.summary


def _print(result: SweepResult, cells: Sequence[Cell], as_json: bool) -> None:
    """The leaderboard and where everything is; with --json, the summary as stdout's last line."""
    from eibench_ray.plan.blockers import describe_blocked
    from eibench_ray.report.leaderboard import render_table
    from eibench_ray.runs.run_summary import describe_counts, render_models, suggest_command

    console = open_console(stderr=as_json)
    summary = result.summary
    console.print(render_table(result.rows))
    for line in describe_blocked(cells):
        console.print(Text(line, style="yellow"))
    for model, reason in result.failures.items():
        console.print(Text.assemble((f"{in_line(model)} failed:", "red"), f" {in_page(reason)}"))
    for line in result.failed_cells:
        console.print(Text(line, style="red"))
    if result.shortage:
        console.print(Text.assemble(("Stopped:", "yellow"), f" {result.shortage}"))
    if result.untracked:
        console.print(Text(result.untracked), soft_wrap=True)
    for step in summary["quarantined"]:
        console.print(Text.assemble(("Quarantined:", "yellow"), f" {_describe_quarantine(step)}"))
    if result.was_handed_over:
        console.print(
            "All that needs a GPU is done and committed. The same command with cluster.without_gpus=true does the rest."
        )
    elif result.was_interrupted:
        console.print(
            f"Ended early by {result.ended_by}: what was done is committed. The same command goes on from here."
        )
    elif not (
        summary["completions_new"] or summary["loads"] or result.failures or result.shortage or result.failed_cells
    ):
        console.print("Nothing was asked: the store had every answer.")
    console.print(describe_counts(summary))
    if summary["models"]:
        console.print(Group(Text(), render_models(summary["models"]), Text()))
    places = {"Page": "page", "Log": "log", "Run": "run_dir", "Store": "store"}
    for heading, name in places.items():
        if summary[name]:
            console.print(f"{heading}: {in_line(summary[name])}", soft_wrap=True)
    console.print(f"Next: {in_line(suggest_command(summary))}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(summary))


def exit_code_of(result: SweepResult) -> int:
    """Exit code of the command: 0 where every cell that can run has its figure."""
    from eibench_ray.driver.stop_signals import HANDED_OVER, PREEMPTED

    if result.was_handed_over:
        return HANDED_OVER
    if result.was_interrupted:
        return PREEMPTED if result.was_preempted else INTERRUPTED
    return 1 if result.failures or result.shortage or result.failed_cells else 0


def _describe_quarantine(step: Mapping[str, Any]) -> str:
    """Names the rows of a step that kill its engine, and the remedy."""
    samples = [in_line(sample) for sample in step["samples"]]
    named = ", ".join(samples[:5]) + (", ..." if len(samples) > 5 else "")
    return (
        f"{in_line(step['title'])}: {len(samples)} row{'s kill' if len(samples) > 1 else ' kills'} the engine of "
        f"{in_line(step['model'])}: {named}. In the place of an answer, each says how the engine died "
        f"(steps/{step['step']} in the store); retry=quarantined asks again."
    )

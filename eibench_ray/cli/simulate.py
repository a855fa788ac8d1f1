"""`eibench-ray simulate`: how long a sweep would take on a cluster, without the cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eibench_ray.cli.console import open_console
from eibench_ray.errors import ClusterError, ConfigError
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from rich.table import Table

    from eibench_ray.config.hydra_jobs import HydraJob
    from eibench_ray.estimate.simulated_case import Case, SimulationResult
    from eibench_ray.runs.planning import PlannedSweep
    from eibench_ray.schedule.gpu_usage import GpuUsage
    from eibench_ray.schedule.resources import EngineProfile

LOWER_BOUND = (
    "The lower bound is the largest of three times that no schedule beats on these GPUs: the slowest row's way through "
    "its steps, each engine loaded before it; the time that an endpoint takes for its requests, under its limits; and "
    "the time into which all replies, in full batches, and the loads of as many replicas as that takes fit on all "
    "GPUs. Whether any schedule reaches it is not known."
)


@dataclass(frozen=True, slots=True)
class Question:
    """The command's options."""

    expect: Mapping[str, float]  # what stands in the place of the configuration's `cluster.expect`
    failing: float
    late: tuple[int, float]  # so many of the nodes join so many seconds later
    spread: float
    seed: int
    from_store: bool
    slice_rows: int | None  # rows per slice of steps that are new to the store; None: the configuration's
    gantt: Path | None
    as_json: bool


def simulate(
    context: typer.Context,
    nodes: Annotated[int | None, typer.Option(min=1, help="Nodes; default of the first four: cluster.expect.")] = None,
    gpus_per_node: Annotated[int | None, typer.Option(min=0, help="GPUs of each node.")] = None,
    cpus_per_node: Annotated[int | None, typer.Option(min=1, help="Cores of each node.")] = None,
    gpu_memory_gb: Annotated[float | None, typer.Option(min=1, help="GB of each GPU.")] = None,
    failing: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the replicas that fail.")] = 0.0,
    late_nodes: Annotated[int, typer.Option(min=0, help="How many of the nodes join later.")] = 0,
    late_s: Annotated[float, typer.Option(min=0, help="Seconds until these nodes join.")] = 600.0,
    spread: Annotated[
        float, typer.Option(min=0, max=3, help="How much replies' lengths vary (log-normal sigma).")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of lengths and failures.")] = 0,
    from_store: Annotated[
        bool, typer.Option("--from-store/--from-scratch", help="Leave out what the store has, or simulate everything.")
    ] = True,
    slice_rows: Annotated[int | None, typer.Option(min=1, help="Rows per slice. Default: store.slice_rows.")] = None,
    gantt: Annotated[Path | None, typer.Option(help="Draw who had which GPU when: FILE.html or FILE.svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Simulate a sweep on a cluster: `eibench-ray simulate experiment=paper_table --nodes 8 --gpus-per-node 8`.

    Takes the arguments of `run` besides its own options. The scheduler is the one of a real run; speeds, load times
    and lengths of replies are those that runs of this store have measured, else what model.expect says.
    """
    from eibench_ray.cli.hydra_entry import call_hydra

    if gantt is not None:
        from eibench_ray.report.gantt import check_suffix

        check_suffix(gantt)
    given = {
        "nodes": nodes,
        "gpus_per_node": gpus_per_node,
        "cpus_per_node": cpus_per_node,
        "gpu_memory_gb": gpu_memory_gb,
    }
    expect = {name: value for name, value in given.items() if value is not None}
    late = (late_nodes, late_s)
    question = Question(expect, failing, late, spread, seed, from_store, slice_rows, gantt, as_json)
    call_hydra(partial(_simulate, question), context.args, leaves_traces=False)


def _simulate(question: Question, jobs: Sequence[HydraJob], folder: Path) -> None:  # noqa: ARG001 - nothing is written
    """Simulates all cells as one sweep and prints what came of it."""
    from eibench_ray.config.load import to_config, with_expected_cluster
    from eibench_ray.estimate.simulator import Simulator
    from eibench_ray.report.gantt import write_gantt
    from eibench_ray.runs.planning import plan_sweep
    from eibench_ray.schedule.gpu_accounting import account
    from eibench_ray.schedule.gpu_usage import step_roles

    configs = [with_expected_cluster(to_config(job.raw), question.expect) for job in jobs]
    sweep = plan_sweep(configs, must_exist=False, device="cuda")
    events: list[dict[str, Any]] = []
    case, expected = _draw_case(sweep, question)
    outcome = Simulator(case, expected, events.append).run()
    usage = account(events, step_roles(sweep.plan))
    if question.gantt is not None:
        write_gantt(question.gantt, usage, f"{sweep.plan.sweep}, simulated")
    summary = _summarise(case, outcome, usage)
    if question.as_json:
        typer.echo(json.dumps(summary))
        return
    console = open_console()
    if not case.lengths:
        console.print("Nothing is left to do: the store has every answer. --from-scratch leaves it aside.")
        return
    console.print(_render(summary))
    console.print(LOWER_BOUND)
    if question.gantt is not None:
        console.print(f"Picture: {in_line(str(question.gantt))}", soft_wrap=True)


def _draw_case(sweep: PlannedSweep, question: Question) -> tuple[Case, Mapping[str, EngineProfile]]:
    """Draws a simulated cluster and sweep, and what the scheduler is told of the engines.

    Raises:
        ClusterError: an engine fits on no node.
        ConfigError: more nodes are late than there are.
    """
    from eibench_ray.estimate.engine_profiles import describe_misfit, engine_profiles, expected_node, fits
    from eibench_ray.estimate.simulated_case import Case, World, uniform_nodes
    from eibench_ray.plan.slices import StepWork, cut
    from eibench_ray.runs.measured_speeds import read_measured

    config = sweep.config
    nodes = [node for _, node in uniform_nodes(config.cluster.expect.nodes, expected_node(config.cluster))]
    num_late, late_s = question.late
    if num_late > len(nodes):
        raise ConfigError(f"--late-nodes {num_late} is more than all {len(nodes)} nodes: lower it, or raise --nodes")
    joining = [(0.0 if number < len(nodes) - num_late else late_s, node) for number, node in enumerate(nodes)]
    work = dict(sweep.work)
    for step, left in sweep.work.items():
        rows = sweep.plan.datasets[sweep.plan.steps[step].dataset].rows
        if not question.from_store:
            todo = tuple(cut(step, rows, question.slice_rows or sweep.slice_rows[step]))
            work[step] = StepWork(left.num_rows, 0, 0, todo)
        elif question.slice_rows is not None and not left.num_done:
            work[step] = replace(left, todo=tuple(cut(step, rows, question.slice_rows)))
    profiles = engine_profiles(sweep.plan, config.cluster, nodes, read_measured(sweep.plan, sweep.store))
    case = Case.draw(sweep.plan, work, World(joining, profiles, question.spread, question.failing, question.seed))
    for key in case.engines:
        if not fits(profiles[key].need, nodes):
            misfit = describe_misfit(sweep.plan.engines[key].name, profiles[key].need, nodes)
            raise ClusterError(
                f"{misfit}: simulate larger nodes (--gpus-per-node, --cpus-per-node, --gpu-memory-gb), or give the "
                f"model fewer GPUs (tensor_parallel and pipeline_parallel in its option file)"
            )
    return case, profiles


def _summarise(case: Case, outcome: SimulationResult, usage: GpuUsage) -> dict[str, Any]:
    from eibench_ray.schedule.replica_meter import UNHELD, TimeKind

    seconds = usage.seconds()
    total = sum(seconds.values())
    shares = {kind: taken / total for kind, taken in seconds.items()}
    idle = {kind: share for kind, share in shares.items() if kind is TimeKind.IDLE or kind in UNHELD}
    return {
        "nodes": len(case.world.nodes),
        "gpus": case.world.num_gpus,
        "requests": outcome.rows,
        "wall_clock_s": outcome.wall_clock_s,
        "gpu_part_s": outcome.gpu_part_s,
        "endpoint_part_s": outcome.wall_clock_s - outcome.gpu_part_s,
        "gpu_hours_held": total / 3600 if usage.unit == "GPU" else 0.0,
        "gpu_hours_given_back": usage.given_back_s / 3600,
        "lower_bound_s": outcome.lower_bound_s,
        "ratio": outcome.ratio,
        "loads": outcome.loads,
        "loads_at_least": outcome.loads_at_least,
        "deaths": outcome.deaths,
        "idle_share": sum(idle.values()),
        "idle": idle,
        "shares": shares,
        "decisions": len(outcome.decision_us),
        "decision_us_median": outcome.decision_us_median,
    }


def _render(summary: Mapping[str, Any]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from eibench_ray.scoring.rounding import show_share

    table = Table(box=SIMPLE_HEAD, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in ("nodes", "gpus", "requests"):
        table.add_row(name if name != "gpus" else "GPUs", _count(summary[name]))
    table.add_section()
    table.add_row("wall-clock time", _duration(summary["wall_clock_s"]))
    if summary["gpu_hours_given_back"]:
        table.add_row("until GPUs are given back", _duration(summary["gpu_part_s"]))
        table.add_row("then without GPUs", _duration(summary["endpoint_part_s"]))
    table.add_row("lower bound", _duration(summary["lower_bound_s"]))
    table.add_row("time / lower bound", f"{summary['ratio']:.3f}")
    table.add_row("loads", f"{summary['loads']:,} (at least {summary['loads_at_least']:,})")
    if summary["deaths"]:
        table.add_row("replicas that failed", _count(summary["deaths"]))
    table.add_section()
    if summary["gpus"]:
        table.add_row("GPU-hours held", f"{summary['gpu_hours_held']:,.1f}")
    if summary["gpu_hours_given_back"]:
        table.add_row("GPU-hours given back", f"{summary['gpu_hours_given_back']:,.1f}")
    for kind, share in summary["shares"].items():
        table.add_row(f"GPU time: {kind.label}", f"{show_share(share)}%")
    table.add_row("GPU time: idle in total", f"{show_share(summary['idle_share'])}%")
    if summary["decisions"]:
        table.add_section()
        table.add_row("decisions", f"{summary['decisions']:,} of {summary['decision_us_median']:.0f} µs (median)")
    return table


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:,.0f} s" if minutes < 2 else f"{seconds:,.0f} s ({minutes // 60} h {minutes % 60:02} min)"

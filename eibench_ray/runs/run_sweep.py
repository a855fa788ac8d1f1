"""Runs a planned sweep: on the cluster what the store lacks, then scores, tables and tracking."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from eibench_ray.driver.run_progress import RunResult
from eibench_ray.engines.cpu_builds import asks_for_gpus, check_builds
from eibench_ray.engines.python_environment import vllm_version
from eibench_ray.plan.step_names import titles
from eibench_ray.report.leaderboard_files import write_leaderboard
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.runs.ask_cluster import ask_cluster
from eibench_ray.runs.begin_run import BegunRun, begin_run
from eibench_ray.runs.failed_cells import describe_failed
from eibench_ray.runs.find_run import FoundRun
from eibench_ray.runs.introduction import told_run
from eibench_ray.runs.measured_speeds import keep_speeds
from eibench_ray.runs.pinned_inputs import count_rows
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_page import write_run_page
from eibench_ray.runs.run_record import RunState, RunStatus, new_run_id
from eibench_ray.runs.run_summary import describe_counts, make_bill, summarise
from eibench_ray.runs.tracked_cells import SweepTracking, describe_upload
from eibench_ray.storage.atomic_files import cannot_write
from eibench_ray.store.held_lease import HeldLease, hold
from eibench_ray.terminal.run_log import phase, tell
from eibench_ray.tracking.open_tracker import close_all
from eibench_ray.tracking.tracker_registry import find_trackers, open_trackers
from eibench_ray.visible_text import in_line

log = logging.getLogger(__name__)

# How long a tracker may take at the end of a run that was told to stop, or that failed.
INTERRUPTED_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Result of a sweep's run.

    Attributes:
        untracked: what trackers were not sent, why, and how to send it; None where nothing is left to send.
    """

    rows: tuple[LeaderboardRow, ...]
    summary: Mapping[str, Any]  # the answer for programs; its keys are stable
    failures: Mapping[str, str]  # model -> why its engine was given up
    was_interrupted: bool
    was_preempted: bool
    shortage: str | None  # where the budget ended the run, how it stands and what to do
    failed_cells: tuple[str, ...] = ()  # a line per reason for which cells have no figure
    was_handed_over: bool = False  # all that needs a GPU is done; the rest is left to a run without any
    ended_by: str = ""  # what interrupted it, in words
    untracked: str | None = None


def run_sweep(
    sweep: PlannedSweep, wanted: Path, console: Console, fill: Callable[[Path], object] = lambda _: None
) -> SweepResult:
    """Asks and scores everything that can be, and returns the result.

    Nothing is left behind by a sweep that is refused.

    Args:
        sweep: the plan and what the store has of it.
        wanted: the run's folder; where another run has it, the run takes one beside it.
        console: where progress is shown.
        fill: writes into the run's folder what else belongs there, once it is the run's.

    Raises:
        ConfigError: GPUs are asked for, and models would run on cores.
        StoreError: the store or the folder cannot be written.
        ClusterError: no cluster, or one that is too small.
    """
    started = time.monotonic()
    asked, cluster, installed = sweep.runnable(), sweep.config.cluster, vllm_version()
    engines = [asked.plan.engines[key] for key in asked.engines_to_load()]
    check_builds(engines, cluster, asks_for_gpus(cluster), installed[0] if installed else None)
    sweep.store.storage.check_writable(sweep.store.paths.root)
    run_id = new_run_id()
    with contextlib.ExitStack() as stack:
        with phase("watching whether another run that asks for the same is alive", console, is_told_early=False):
            held_lease = stack.enter_context(hold(sweep.store, run_id, asked.locks, titles(sweep.plan)))
        run = begin_run(sweep, wanted, run_id)
        if run.folder.is_other:
            note = f"{wanted.absolute()} is the folder of an earlier run: this one writes to {run.folder.path}"
            console.print(in_line(note), soft_wrap=True)
        stack.enter_context(run.ending())
        stack.enter_context(told_run(sweep, run_id, run.folder.path, console))
        try:
            fill(run.folder.path)
        except OSError as error:
            raise cannot_write(run.folder.path, error) from error
        return _run(sweep, run, console, held_lease, started)


def _run(sweep: PlannedSweep, run: BegunRun, console: Console, held_lease: HeldLease, started: float) -> SweepResult:
    """Result of a run that has its steps and its folder for itself."""
    status, folder = run.status, run.folder.path
    config = sweep.config.tracking
    kinds = find_trackers(config)
    trackers = open_trackers(kinds, folder, os.environ)
    tracking = SweepTracking(run.manifest, sweep.store, config, kinds, trackers)
    for line in describe_upload(config, kinds, trackers):
        tell(console, line)
    deadline_s = INTERRUPTED_DEADLINE_S
    try:
        asked = sweep.runnable()
        done = RunResult() if asked.is_complete else ask_cluster(asked, run, trackers, console, held_lease)
        held_lease.release()
        with phase(f"scoring the sweep's cells ({len(sweep.plan.cells)})", console):
            rows = _score(sweep, done, tracking, status.failures)
            write_leaderboard(rows, folder)
        budget = sweep.read_budget()
        status.cost_usd = budget.spent_usd - sweep.budget.spent_usd
        status.shortage = budget.describe_shortage(sweep.count_left()) if done.shortage is not None else None
        status.failed_cells = {row.cell: row.failed for row in rows if row.failed}
        status.state = _end_state(done, status)
        with phase("counting rows without an answer", console):
            status.done = sweep.count_whole() or count_rows(sweep.plan, sweep.store)
            summary = summarise(sweep, folder, rows, done, time.monotonic() - started)
        summary |= make_bill(sweep, status, budget)
        status.summary = summary
        if not done.was_interrupted:
            deadline_s = config.deadline_s
        status.write(folder)  # what is left may take a while
        summary |= {"page": None if done.was_preempted else _write_page(sweep, run, rows, console)}
        if not done.was_interrupted:
            tracking.tell_sweep(rows, folder)
    finally:
        with phase("ending the trackers", console, is_told_early=any(one.target for one in trackers.values())):
            reports = close_all(trackers, deadline_s, partial(tell, console))
    summary |= {"tracking": {name: asdict(report) for name, report in reports.items()}}
    if not asked.is_complete:
        keep_speeds(asked, run.status.id, done, started, time.monotonic())
    log.info("the run has ended: %s; %s", status.state.replace("_", " "), describe_counts(summary))
    return SweepResult(
        tuple(rows),
        summary,
        dict(status.failures),
        done.was_interrupted,
        done.was_preempted,
        status.shortage,
        tuple(describe_failed(status.failed_cells, status.failures)),
        was_handed_over=done.was_handed_over,
        ended_by=done.ended_by,
        untracked="\n".join(filter(None, (one.describe(folder.absolute()) for one in reports.values()))) or None,
    )


def _write_page(sweep: PlannedSweep, run: BegunRun, rows: Sequence[LeaderboardRow], console: Console) -> str | None:
    """Path of the run's page; None where it has none."""
    if not sweep.config.report.html:
        return None
    with phase("writing the page", console):
        found = FoundRun(run.manifest, run.status, run.store, run.folder.path, has_folder=True)
        written = write_run_page(found, sweep.config.report, rows)
    return str(written.path.absolute()) if written else None


def _end_state(done: RunResult, status: RunStatus) -> RunState:
    if done.was_handed_over:
        return "handed_over"
    if done.was_interrupted:
        return "preempted" if done.was_preempted else "interrupted"
    return "failed" if status.failures or status.failed_cells else "budget_spent" if status.shortage else "finished"


def _score(
    sweep: PlannedSweep, done: RunResult, tracking: SweepTracking, failures: Mapping[str, str]
) -> list[LeaderboardRow]:
    """The leaderboard; cells that are whole and whose figures are new are handed to the trackers."""
    results = Results(sweep.plan, sweep.store)
    rows = []
    for cell, row in results.score_all(sweep.plan.cells, sweep.config.score, failures):
        rows.append(row)
        if not done.was_interrupted:
            tracking.tell(cell, row)
    return rows

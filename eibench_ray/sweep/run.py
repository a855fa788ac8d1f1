"""Runs a planned sweep: on the cluster what the store lacks, then scores, tables and tracking."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from eibench_ray.cluster.events import Ledger
from eibench_ray.cluster.last_lines import LOGS_FOLDER, logs_here
from eibench_ray.cluster.narration import Narrator
from eibench_ray.cluster.progress import ProgressDisplay
from eibench_ray.endpoints.funds import Funds
from eibench_ray.endpoints.turnstile import Turnstile
from eibench_ray.engines.create import check_installed
from eibench_ray.journal import phase
from eibench_ray.plan.builds import asks_for_gpus, check_builds
from eibench_ray.plan.costs import describe_uncounted
from eibench_ray.plan.facts import vllm_version
from eibench_ray.plan.naming import titles
from eibench_ray.plan.outlook import describe_unpinned
from eibench_ray.records import ABSENT, RowErrorKind
from eibench_ray.report.leaderboard import LeaderboardRow, describe_failed
from eibench_ray.report.leaderboard_files import to_json_rows, write_leaderboard
from eibench_ray.report.tracking import Tracker, TrackingReport, open_tracker
from eibench_ray.store.files import cannot_write
from eibench_ray.store.holding import Holding, hold
from eibench_ray.store.resume import cut
from eibench_ray.sweep.begin import BegunRun, begin_run
from eibench_ray.sweep.introduction import describe_end, told_run
from eibench_ray.sweep.listeners import Listeners, StatusWriter, TrackingListener
from eibench_ray.sweep.pins import count_rows
from eibench_ray.sweep.planning import PlannedSweep, open_indexes, read_spent
from eibench_ray.sweep.pulse import Pulse
from eibench_ray.sweep.record import LEDGER_FILE, RunManifest, RunState, RunStatus, new_run_id, write_manifest
from eibench_ray.sweep.results import Results
from eibench_ray.sweep.tracked import CellTracking
from eibench_ray.visible import in_line

if TYPE_CHECKING:
    from eibench_ray.cluster.driver import Driver
    from eibench_ray.cluster.outcome import Outcome

log = logging.getLogger(__name__)

# How long a tracker may take at the end of a run that was told to stop, or that failed.
INTERRUPTED_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What came out of a run.

    Attributes:
        rows: the leaderboard.
        summary: the answer for programs; its keys are stable.
        failures: model -> why its engine was given up.
        shortage: where the budget ended the run, how it stands and what to do.
        failed_cells: a line per reason for which cells have no figure.
        ended_by: what interrupted it, in words.
        untracked: what the tracker was not sent, why, and how to send it; None where nothing is left to send.
    """

    rows: tuple[LeaderboardRow, ...]
    summary: Mapping[str, Any]
    failures: Mapping[str, str]
    was_interrupted: bool
    was_preempted: bool
    shortage: str | None
    failed_cells: tuple[str, ...] = ()
    ended_by: str = ""
    untracked: str | None = None


@dataclass(slots=True)
class _Done:
    """What the cluster did in this run."""

    num_new: int = 0
    num_loads: int = 0
    was_interrupted: bool = False
    was_preempted: bool = False
    has_shortage: bool = False
    ended_by: str = ""


def run_sweep(
    sweep: PlannedSweep, wanted: Path, console: Console, fill: Callable[[Path], object] = lambda _: None
) -> SweepResult:
    """What came out, once everything that can be asked has been asked and scored.

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
            holding = stack.enter_context(hold(sweep.store, run_id, asked.claims, titles(sweep.plan)))
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
        return _run(sweep, run, console, holding, started)


def _run(sweep: PlannedSweep, run: BegunRun, console: Console, holding: Holding, started: float) -> SweepResult:
    """What came out of a run that has its steps and its folder for itself."""
    status, folder = run.status, run.folder.path
    tracker = open_tracker(sweep.config.tracking, folder, os.environ)
    tracking = TrackingReport()
    deadline_s = INTERRUPTED_DEADLINE_S
    try:
        asked = sweep.runnable()
        done = _Done() if asked.is_complete else _ask(asked, run, tracker, console, holding)
        holding.release()
        with phase(f"scoring the sweep's cells ({len(sweep.plan.cells)})", console):
            rows = _score(sweep, done, tracker, status.failures)
            write_leaderboard(rows, folder)
        funds = sweep.read_funds()
        status.cost_usd = funds.spent_usd - sweep.funds.spent_usd
        status.shortage = funds.describe_shortage(sweep.count_left()) if done.has_shortage else None
        status.failed_cells = {row.cell: row.failed for row in rows if row.failed}
        status.state = _end_state(done, status)
        with phase("counting rows without an answer", console):
            status.done = count_rows(sweep.plan, sweep.store)
            summary = _summarise(sweep, folder, rows, done, time.monotonic() - started)
        summary |= _bill(sweep, status, funds)
        status.summary = summary
        if not done.was_interrupted:
            deadline_s = sweep.config.tracking.deadline_s
        status.write(folder)  # what is left to be told to the tracker may take a while
    finally:
        with phase("ending the tracker", console):
            tracking = tracker.close(deadline_s, partial(_tell, console))
    summary |= {"tracking": asdict(tracking)}
    log.info("%s", describe_end(status.state, summary))
    return SweepResult(
        tuple(rows),
        summary,
        dict(status.failures),
        done.was_interrupted,
        done.was_preempted,
        status.shortage,
        tuple(describe_failed(rows)),
        ended_by=done.ended_by,
        untracked=tracking.describe(folder.absolute()),
    )


def _end_state(done: _Done, status: RunStatus) -> RunState:
    if done.was_interrupted:
        return "preempted" if done.was_preempted else "interrupted"
    return "failed" if status.failures or status.failed_cells else "budget_spent" if status.shortage else "finished"


def _ask(sweep: PlannedSweep, run: BegunRun, tracker: Tracker, console: Console, holding: Holding) -> _Done:
    """Runs the driver on the cluster until nothing is left, or until it is told to stop."""
    from eibench_ray.cluster.session import ray_session
    from eibench_ray.cluster.signals import as_interrupt
    from eibench_ray.cluster.walltime import seconds_left
    from eibench_ray.sweep.checkpoints import build_checkpoints

    left_s = seconds_left(sweep.config.cluster.walltime, time.time(), os.environ)
    if uncounted := describe_uncounted(sweep.plan, sweep.funds.budget_usd):
        console.print(f"Warning: {uncounted}", soft_wrap=True)
    engines = [sweep.plan.engines[key] for key in sweep.engines_to_load()]
    for spec in engines:
        check_installed(spec)
    if unpinned := describe_unpinned(engines):
        _tell(console, unpinned)
    build_checkpoints(engines, console)
    sweep = sweep.fix_slices()
    for step_id in sweep.steps_to_ask:
        sweep.store.remove_partial(step_id)
    status, folder = run.status, run.folder.path
    ledger = Ledger(folder / LEDGER_FILE, partial(_narrate, Narrator(sweep.plan)))
    display = ProgressDisplay(sweep.plan, sweep.work, console, sweep.funds)
    pulse = Pulse(sweep.plan, sweep.work, sweep.funds)
    listeners = Listeners([display, pulse, StatusWriter(status, folder), TrackingListener(sweep.plan, tracker)])
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(ledger))
        stack.enter_context(as_interrupt())
        address = sweep.config.cluster.address
        with phase("starting Ray" if address == "local" else f"joining the Ray cluster at {address}", console):
            stack.enter_context(ray_session(sweep.config.cluster, folder / LOGS_FOLDER))
        lasts = ", while the run lasts" if address == "local" else ", on each node"
        log.info("logs of Ray and of the engines: %s%s; what a lost replica wrote last is kept", logs_here(), lasts)
        # Ray is imported only where there is something to ask, and first by its session.
        from eibench_ray.cluster.driver import Driver

        sweep = _fit_to_nodes(sweep, run.manifest, console)
        driver = Driver(
            sweep.plan,
            sweep.work,
            sweep.config.cluster,
            sweep.store.root,
            status.id,
            ledger,
            listeners,
            _open_turnstile(sweep),
            left_s,
            sweep.config.retry,
        )
        with display:
            outcome = asyncio.run(_conduct(driver, holding))
    status.failures = {
        sweep.plan.engines[key].name: f"{reason}{_where_lines_are(outcome, key)}"
        for key, reason in outcome.failed_engines.items()
    }
    holding.check()
    return _Done(
        outcome.num_new,
        outcome.num_loads,
        outcome.was_interrupted,
        outcome.was_preempted,
        outcome.shortage is not None,
        outcome.ended_by,
    )


def _where_lines_are(outcome: Outcome, engine: str) -> str:
    """Where a failed engine's last lines are kept, as the end of a sentence; empty where there are none."""
    path = outcome.logs.get(engine)
    return f" (its last lines: {path.absolute()})" if path else ""


def _tell(console: Console, line: str) -> None:
    """Shows a line on a terminal, and tells the log of it."""
    log.info("%s", line)
    if console.is_terminal:
        console.print(in_line(line), soft_wrap=True)


def _narrate(narrator: Narrator, event: str, fields: Mapping[str, Any]) -> None:
    """Tells the log of an event of the ledger."""
    if line := narrator.describe(event, fields):
        log.log(line.level, "%s", line.text)


def _fit_to_nodes(sweep: PlannedSweep, manifest: RunManifest, console: Console) -> PlannedSweep:
    """The sweep with `tensor_parallel: auto` by the GPUs of the nodes that are there; the run's record has it, too."""
    from eibench_ray.cluster.nodes import NodeWatch

    if not any(spec.is_auto for spec in sweep.plan.engines.values()):
        return sweep
    nodes = asyncio.run(NodeWatch(sweep.config.cluster).look()).joined
    fitted, said = sweep.with_nodes(nodes)
    for line in said:
        _tell(console, line)
    if fitted is not sweep:
        plan = replace(manifest.plan, engines={**manifest.plan.engines, **fitted.plan.engines})
        write_manifest(replace(manifest, plan=plan), sweep.store)
    return fitted


async def _conduct(driver: Driver, holding: Holding) -> Outcome:
    """What the driver did until nothing was left, it was told to stop, or the lease was lost."""
    from eibench_ray.cluster.signals import run_until_told

    loop = asyncio.get_running_loop()
    holding.on_loss(lambda: loop.call_soon_threadsafe(driver.request_stop))
    try:
        return await run_until_told(
            driver.run(), lambda _: driver.request_stop(), "committing what is done", driver.give_way
        )
    finally:
        holding.on_loss(lambda: None)


def _open_turnstile(sweep: PlannedSweep) -> Turnstile | None:
    """What all requests of the run to endpoints pass through; None where it sends none."""
    if not (sweep.pools or sweep.is_paid):
        return None
    from eibench_ray.cluster.turnstile import RayTurnstile

    # Told what to read, not what was read: after a restart it reads what was spent until then.
    return RayTurnstile(sweep.pools, sweep.funds.budget_usd, partial(read_spent, sweep.plan, sweep.store))


def _score(sweep: PlannedSweep, done: _Done, tracker: Tracker, failures: Mapping[str, str]) -> list[LeaderboardRow]:
    """The leaderboard; cells that are whole and whose figures are new are handed to the tracker."""
    results = Results(sweep.plan, sweep.store)
    tracking = CellTracking(sweep.plan, sweep.store, sweep.config.tracking, tracker)
    rows = []
    for cell in sweep.plan.cells:
        row = results.score(cell, sweep.config.score, failures)
        rows.append(row)
        if not done.was_interrupted:
            tracking.tell(cell, row)
    tracking.tell_blocked()
    return rows


def _summarise(
    sweep: PlannedSweep, folder: Path, rows: Sequence[LeaderboardRow], done: _Done, wall_s: float
) -> dict[str, Any]:
    """The answer for programs."""
    unanswered, quarantined = _find_unanswered(sweep)
    num_absent = unanswered.pop(ABSENT, 0)
    return {
        "run_dir": str(folder.absolute()),
        "store": sweep.store.root,
        "cells": len(rows),
        "cells_blocked": sum(bool(row.blocked) for row in rows),
        "cells_failed": sum(bool(row.failed) for row in rows),
        "requests": sweep.plan.num_requests - num_absent,
        "completions_new": done.num_new,
        "completions_reused": sum(left.num_replied - left.num_errors for left in sweep.work.values()),
        "errors": unanswered.total(),
        "quarantined": quarantined,
        "loads": done.num_loads,
        "wall_s": round(wall_s, 2),
        "interrupted": done.was_interrupted,
        "preempted": done.was_preempted,
        "rows": to_json_rows(list(rows)),
    }


def _bill(sweep: PlannedSweep, status: RunStatus, funds: Funds) -> dict[str, Any]:
    """What it cost, for programs; nulls where nothing has a price."""
    return {
        "cost_usd": round(funds.spent_usd, 8) if sweep.is_paid else None,
        "run_cost_usd": round(status.cost_usd, 8) if sweep.is_paid else None,
        "budget_usd": funds.budget_usd,
        "shortage": status.shortage,
    }


def _find_unanswered(sweep: PlannedSweep) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Rows of all steps without an answer as they stand in the store now.

    How many per kind of error, and absent; and the samples of which an engine died, by the step that asked for them.
    """
    indexes, names = open_indexes(sweep.plan), titles(sweep.plan)
    counts: Counter[str] = Counter()
    quarantined = []
    for step in sweep.plan.steps.values():
        num_rows = sweep.plan.datasets[step.dataset].num_rows
        samples: list[str] = []
        for slice_ in cut(step.id, num_rows, sweep.store.slice_rows(step.id) or num_rows):
            if found := sweep.store.read_unanswered(step.id, slice_.index):
                rows = [row for row, _ in indexes[step.dataset].rows(slice_.start, slice_.stop) if row in found]
                counts.update(found[sample_id] for sample_id in rows)
                samples += [sample_id for sample_id in rows if found[sample_id] == RowErrorKind.QUARANTINED]
        if samples:
            model = sweep.plan.engines[step.engine].name
            where = {"model": model, "name": step.name, "dataset": step.dataset, "step": step.id}
            where["title"] = names[step.id]
            quarantined.append(where | {"samples": samples})
    return counts, quarantined

"""Asks on the cluster for what a sweep lacks: Ray's session, the driver, and what is told meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from eibench_ray.driver.event_lines import Narrator
from eibench_ray.driver.ray_metrics import RayMetricsListener
from eibench_ray.driver.run_events import Ledger
from eibench_ray.driver.run_progress import RunResult
from eibench_ray.engines.registry import check_installed
from eibench_ray.estimate.cost_estimate import describe_uncounted
from eibench_ray.estimate.time_tables import describe_unpinned
from eibench_ray.ratelimit.rate_limiter import RateLimiter
from eibench_ray.runs.begin_run import BegunRun
from eibench_ray.runs.live_display import LiveDisplay
from eibench_ray.runs.measured_speeds import read_measured
from eibench_ray.runs.planning import PlannedSweep, read_spent
from eibench_ray.runs.progress_lines import ProgressLines
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_listeners import Listeners, StatusWriter
from eibench_ray.runs.run_record import LEDGER_FILE, RunManifest, write_manifest
from eibench_ray.runs.run_view import RunViewer
from eibench_ray.runs.tracked_cells import flat_scores
from eibench_ray.runs.tracking_listener import TrackingListener
from eibench_ray.store.held_lease import HeldLease
from eibench_ray.terminal.run_log import phase, tell
from eibench_ray.tracking.open_tracker import OpenTrackers
from eibench_ray.worker.last_lines import LOGS_FOLDER, logs_here

if TYPE_CHECKING:
    from eibench_ray.driver.driver import Driver

log = logging.getLogger(__name__)


def ask_cluster(
    sweep: PlannedSweep, run: BegunRun, trackers: OpenTrackers, console: Console, held_lease: HeldLease
) -> RunResult:
    """Runs the driver on the cluster until nothing is left, or until it is told to stop."""
    from eibench_ray.driver.ray_session import ray_session
    from eibench_ray.driver.stop_signals import as_interrupt
    from eibench_ray.driver.walltime import seconds_left
    from eibench_ray.runs.fetch_assets import build_checkpoints

    left_s = seconds_left(sweep.config.cluster.walltime, time.time(), os.environ)
    if uncounted := describe_uncounted(sweep.plan, sweep.budget.budget_usd):
        console.print(f"Warning: {uncounted}", soft_wrap=True)
    engines = [sweep.plan.engines[key] for key in sweep.engines_to_load()]
    for spec in engines:
        check_installed(spec)
    if unpinned := describe_unpinned(engines):
        tell(console, unpinned)
    build_checkpoints(engines, console)
    sweep = sweep.fix_slices()
    for step_id in sweep.steps_to_ask:
        sweep.store.remove_partial(step_id)
    status, folder = run.status, run.folder.path
    ledger = Ledger(folder / LEDGER_FILE, partial(_narrate, Narrator(sweep.plan)))
    viewer = RunViewer(run.manifest.plan)
    display = LiveDisplay(console, lambda: viewer.view(status, time.time()))
    pulse = ProgressLines(lambda: viewer.view(status, time.time()))
    results = Results(sweep.plan, sweep.store)
    tracked = TrackingListener(sweep.plan, trackers, lambda cell: flat_scores(results.score(cell, sweep.config.score)))
    # The record first: the others tell of it.
    listeners = Listeners(
        [StatusWriter(status, folder), display, pulse, tracked, RayMetricsListener(sweep.plan, status.id)]
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(tracked))
        stack.enter_context(contextlib.closing(ledger))
        stack.enter_context(as_interrupt())
        address = sweep.config.cluster.address
        status.waits = ["starting Ray" if address == "local" else f"joining the Ray cluster at {address}"]
        status.write(folder)
        with phase("starting Ray" if address == "local" else f"joining the Ray cluster at {address}", console):
            stack.enter_context(ray_session(sweep.config.cluster, folder / LOGS_FOLDER))
        lasts = ", while the run lasts" if address == "local" else ", on each node"
        log.info("logs of Ray and of the engines: %s%s; what a lost replica wrote last is kept", logs_here(), lasts)
        # Ray is imported only where there is something to ask, and first by its session.
        from eibench_ray.driver.driver import Driver

        sweep = _fit_to_nodes(sweep, run.manifest, console)
        driver = Driver(
            sweep.plan,
            sweep.work,
            sweep.config.cluster,
            sweep.store.root,
            status.id,
            ledger,
            listeners,
            _open_limiter(sweep),
            left_s,
            sweep.config.retry,
            read_measured(sweep.plan, sweep.store),
        )
        with display:
            outcome = asyncio.run(_conduct(driver, held_lease))
    status.failures = {
        sweep.plan.engines[key].name: f"{reason}{_where_lines_are(outcome, key)}"
        for key, reason in outcome.failed_engines.items()
    }
    held_lease.check()
    return outcome


def _where_lines_are(outcome: RunResult, engine: str) -> str:
    """Place of a failed engine's last lines, as the end of a sentence; empty where there are none."""
    path = outcome.logs.get(engine)
    return f" (its last lines: {path.absolute()})" if path else ""


def _narrate(narrator: Narrator, event: str, fields: Mapping[str, Any]) -> None:
    """Tells the log of an event of the ledger."""
    if line := narrator.describe(event, fields):
        log.log(line.level, "%s", line.text)


def _fit_to_nodes(sweep: PlannedSweep, manifest: RunManifest, console: Console) -> PlannedSweep:
    """The sweep with what is `auto` chosen by the GPUs of the nodes that are there; the run's record has it, too."""
    from eibench_ray.driver.cluster_nodes import NodeWatch

    if not any(spec.chosen for spec in sweep.plan.engines.values()):
        return sweep
    nodes = asyncio.run(NodeWatch(sweep.config.cluster).look()).joined
    fitted, said = sweep.with_nodes(nodes)
    for line in said:
        tell(console, line)
    if fitted is not sweep:
        plan = replace(manifest.plan, engines={**manifest.plan.engines, **fitted.plan.engines})
        write_manifest(replace(manifest, plan=plan), sweep.store)
    return fitted


async def _conduct(driver: Driver, held_lease: HeldLease) -> RunResult:
    """Runs the driver until nothing is left, it is told to stop, or the lease is lost; returns its result."""
    from eibench_ray.driver.stop_signals import run_until_told

    loop = asyncio.get_running_loop()
    held_lease.on_loss(lambda: loop.call_soon_threadsafe(driver.request_stop))
    try:
        return await run_until_told(
            driver.run(), lambda _: driver.request_stop(), "committing what is done", driver.give_way
        )
    finally:
        held_lease.on_loss(lambda: None)


def _open_limiter(sweep: PlannedSweep) -> RateLimiter | None:
    """Opens the rate limiter of the run's requests to endpoints; None where it sends none."""
    if not (sweep.pools or sweep.is_paid):
        return None
    from eibench_ray.driver.ray_limiter import RayRateLimiter

    # Told what to read, not what was read: after a restart it reads what was spent until then.
    return RayRateLimiter(sweep.pools, sweep.budget.budget_usd, partial(read_spent, sweep.plan, sweep.store))

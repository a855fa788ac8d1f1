"""Keeps what a run has measured in its store: the next plan, and the next run's scheduler, go by it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from eibench_ray.errors import StoreError
from eibench_ray.estimate.hardware import describe_hardware
from eibench_ray.estimate.measured_profiles import Measured, expected_text_tokens
from eibench_ray.plan.expected_tokens import most_tokens
from eibench_ray.plan.graph import Plan
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.schedule.measured_engine import MeasuredEngine, MeasuredRun, MeasuredStep
from eibench_ray.store.slice_store import Store
from eibench_ray.store.speed_records import read_run_speeds, read_speeds, write_speeds

if TYPE_CHECKING:
    from eibench_ray.driver.run_progress import RunResult

log = logging.getLogger(__name__)


def keep_speeds(sweep: PlannedSweep, run_id: str, done: RunResult, started: float, ended: float) -> None:
    """Writes what a run has measured into its store; where that does not take it, a warning says so.

    Args:
        sweep: what was run.
        run_id: of the run.
        done: its result.
        started: when it began, on the monotonic clock.
        ended: when it had come to its end.
    """
    now = time.time()
    engines = {
        key: MeasuredEngine(
            run=run_id,
            at=now,
            hardware=describe_hardware(sweep.plan.engines[key], sweep.config.cluster, done.nodes),
            gpus=sweep.plan.engines[key].num_gpus,
            load_s=sum(loads) / len(loads) if (loads := done.loads_s.get(key)) else None,
            steps=_steps_of(sweep.plan, key, done),
        )
        for key in sweep.plan.engines
        if key in done.loads_s
    }
    run = None
    if done.began_at is not None and done.last_row_at is not None and not done.was_interrupted:
        run = MeasuredRun(run_id, now, done.began_at - started, ended - done.last_row_at)
    try:
        write_speeds(sweep.store, engines, run)
    except StoreError as error:
        log.warning("what this run measured is not kept for the next plan: %s", error)


def _steps_of(plan: Plan, engine: str, done: RunResult) -> dict[str, MeasuredStep]:
    return {
        step.id: MeasuredStep(
            step.name, most_tokens(step, plan.engines[engine]), expected_text_tokens(plan, step), done.asked[step.id]
        )
        for step in plan.steps.values()
        if step.engine == engine and step.id in done.asked
    }


def read_measured(plan: Plan, store: Store) -> Measured:
    """Measurements of a plan's engines, as far as the store has some."""
    return Measured(read_speeds(store, plan.engines), read_run_speeds(store))

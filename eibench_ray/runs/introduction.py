"""Announces a run: its place and its plan when it begins, and the error that ends it."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from eibench_ray.driver.walltime import seconds_left
from eibench_ray.errors import EibenchError
from eibench_ray.plan.graph import Cell
from eibench_ray.runs.begin_run import state_after
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.recordings import describe_recordings, match_recordings
from eibench_ray.terminal.run_log import LOG_FILE, log_kept, tell
from eibench_ray.visible_text import count, list_some

log = logging.getLogger(__name__)

_MOST_NAMES = 6


@contextlib.contextmanager
def told_run(sweep: PlannedSweep, run_id: str, folder: Path, console: Console) -> Iterator[None]:
    """Keeps the run's log for the block, begins it with what is run, and ends it with the error that ended it."""
    with log_kept(folder / LOG_FILE):
        for line in introduce(sweep, run_id, folder):
            tell(console, line)
        try:
            yield
        except BaseException as error:
            if (state := state_after(error)) != "failed":
                log.info("the run has ended: %s", state)
            else:
                paragraph = str(error) if isinstance(error, EibenchError) else type(error).__name__
                log.error("the run has ended: %s", paragraph, extra={"is_printed": True})
            raise


def introduce(sweep: PlannedSweep, run_id: str, folder: Path) -> Iterator[str]:
    """Tells where the run and its log lie, and its plan in three lines: cells, requests, engines and limits."""
    yield f"run {run_id} of sweep {sweep.plan.sweep}: {folder.absolute()} (these lines: {LOG_FILE} there)"
    cells = sweep.plan.cells
    blocked = sum(bool(cell.blockers) for cell in cells)
    kinds = [("model", _names(cells, "model")), ("setting", _names(cells, "setting"))]
    kinds += [("dataset", _names(cells, "dataset")), ("judge", _names(cells, "judge"))]
    sizes = " x ".join(count(len(names), kind) for kind, names in kinds)
    yield f"plan: {count(len(cells), 'cell')} of {sizes}{f'; {blocked} blocked, see `plan`' if blocked else ''}"
    if left_out := sweep.plan.left_out:
        yield f"plan: left out, as it would compare answers with themselves: {', '.join(left_out)}"
    for spec in sweep.plan.datasets.values():
        if spec.choice:
            yield f"plan: {count(spec.num_rows, 'sample')} of {spec.name} ({spec.choice})"
    asked = sweep.runnable()
    total = sum(left.num_rows for left in asked.work.values())
    done = sum(left.num_done for left in asked.work.values())
    known = f"of which {done:,} are in the store {sweep.store.root}"
    yield f"plan: {count(total, 'request')}, {known}; {total - done:,} to ask"
    names = [sweep.plan.engines[key].name for key in asked.engines_to_load()]
    cluster = sweep.config.cluster
    where = "a Ray on this machine" if cluster.address == "local" else f"the Ray cluster at {cluster.address}"
    left_s = seconds_left(cluster.walltime, time.time(), os.environ)
    limits = [f"{left_s / 60:.0f} min of walltime"] if not math.isinf(left_s) else []
    limits += [f"{sweep.budget} spent"] if sweep.is_paid else []
    end = f"; {', '.join(limits)}" if limits else ""
    whom = f"asks {list_some(names, _MOST_NAMES)} on {where}" if names else "asks nobody: scores what the store has"
    yield f"plan: {whom}{end}"
    yield from describe_recordings(match_recordings(sweep.plan))


def _names(cells: Sequence[Cell], kind: str) -> list[str]:
    return list(dict.fromkeys(getattr(cell, kind) for cell in cells))

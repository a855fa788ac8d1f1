"""Listeners of a run: the terminal, the run's status file, the tracker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from eibench_ray.driver.run_events import Listener, Snapshot
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.step_names import with_mark
from eibench_ray.report.leaderboard_row import PARTIAL, LeaderboardRow
from eibench_ray.runs.run_record import RunStatus
from eibench_ray.tracking.tracker import Progress, TrackedCell
from eibench_ray.tracking.tracking_queue import CellTracker

STATUS_EVERY_S = 2.0
TRACK_EVERY_S = 10.0


def tracked_cell(plan: Plan, cell: Cell, row: LeaderboardRow | None = None) -> TrackedCell:
    """A cell as its tracker sees it, its name with the marks of the leaderboard."""
    num_rows = plan.datasets[cell.dataset].num_rows * len(cell.steps)
    model = with_mark(cell.model, plan.answer_source(cell))
    judge = with_mark(cell.judge, plan.judge_source(cell))
    partial = f" {PARTIAL}" if row is not None and row.is_partial else ""
    name = f"{model}/{cell.setting}/{cell.dataset}/{judge}{partial}"
    return TrackedCell(cell.key, plan.sweep, name, cell.config, num_rows)


class StatusWriter:
    """Rewrites the run's status file every few seconds."""

    def __init__(self, status: RunStatus, folder: Path) -> None:
        self._status = status
        self._folder = folder

    def update(self, snapshot: Snapshot) -> None:
        """Writes the status, at most every STATUS_EVERY_S."""
        status = self._status
        status.done |= snapshot.done
        status.absent |= snapshot.absent
        status.errors, status.asking = dict(snapshot.errors), dict(snapshot.asking)
        status.engines, status.rows_in_flight = dict(snapshot.engines), snapshot.rows_in_flight
        status.rows_per_s, status.left_s = snapshot.rows_per_s, snapshot.left_s
        status.tokens, status.cost_usd = snapshot.tokens, snapshot.cost_usd
        status.waits = [str(wait) for wait in snapshot.waits]
        if time.time() - status.updated_at >= STATUS_EVERY_S:
            status.write(self._folder)


class TrackingListener:
    """Tells the tracker how far each cell is, every few seconds and only where something moved."""

    def __init__(self, plan: Plan, tracker: CellTracker) -> None:
        self._plan = plan
        self._tracker = tracker
        self._started = self._told_at = time.monotonic()
        self._told: dict[str, int] = {}

    def update(self, snapshot: Snapshot) -> None:
        """Notes the progress of cells, at most every TRACK_EVERY_S."""
        now = time.monotonic()
        if now - self._told_at < TRACK_EVERY_S:
            return
        self._told_at = now
        for cell in self._plan.cells:
            rows_done = sum(snapshot.done[step] for step in cell.steps)
            if rows_done != self._told.get(cell.key):
                self._told[cell.key] = rows_done
                rate = snapshot.tokens / (now - self._started)
                cell_ = tracked_cell(self._plan, cell)
                self._tracker.progress(cell_, Progress(rows_done, cell_.num_rows, snapshot.tokens, rate))


class Listeners:
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def update(self, snapshot: Snapshot) -> None:
        """Tells each."""
        for listener in self._listeners:
            listener.update(snapshot)

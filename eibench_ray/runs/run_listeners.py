"""Listeners of a run: its status file, and several as one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from eibench_ray.driver.run_events import Listener, Snapshot
from eibench_ray.runs.run_record import RunStatus

STATUS_EVERY_S = 2.0


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


class Listeners:
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def update(self, snapshot: Snapshot) -> None:
        """Tells each."""
        for listener in self._listeners:
            listener.update(snapshot)

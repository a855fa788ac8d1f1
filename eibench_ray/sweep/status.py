"""How far a run is: its record, the store's count of rows, and what its ledger says of loads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from eibench_ray.store.resume import find_work
from eibench_ray.sweep.planning import open_indexes
from eibench_ray.sweep.record import LEDGER_FILE, RunStatus, read_run

if TYPE_CHECKING:
    from rich.console import RenderableType


def read_status(folder: Path) -> dict[str, Any]:
    """Where a run stands, as plain values.

    Raises:
        StoreError: there is no run in the folder.
    """
    manifest, status, store = read_run(folder)
    plan = manifest.plan
    work = find_work(plan, open_indexes(plan), store, manifest.store.slice_rows)
    events = list(_read_ledger(folder / LEDGER_FILE))
    return {
        "run_dir": str(folder.absolute()),
        "store": status.store,
        "id": status.id,
        "sweep": plan.sweep,
        "state": _state(status, os.uname().nodename),
        "failures": status.failures,
        "requests": plan.num_requests,
        "requests_done": sum(left.num_done for left in work.values()),
        "errors": sum(left.num_errors for left in work.values()),
        "loads": sum(event["event"] == "replica_ready" and plan.engines[event["engine"]].is_load for event in events),
        "tokens": status.tokens,
        "engines": [
            {
                "name": event["model"],
                "load_s": event["load_s"],
                "node": event["node"],
                "fingerprint": event["fingerprint"],
            }
            for event in events
            if event["event"] == "replica_ready"
        ],
        "steps": [
            {
                "id": step.id,
                "name": step.name,
                "model": plan.engines[step.engine].name,
                "dataset": step.dataset,
                "rows": work[step.id].num_rows,
                "rows_done": work[step.id].num_done,
                "errors": work[step.id].num_errors,
            }
            for step in plan.steps.values()
        ],
        "cells": [
            {
                "model": cell.model,
                "setting": cell.setting,
                "dataset": cell.dataset,
                "judge": cell.judge,
                "requests": sum(work[step].num_rows for step in cell.steps),
                "requests_done": sum(work[step].num_done for step in cell.steps),
            }
            for cell in plan.cells
        ],
    }


def render_status(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The status as a heading, a table of steps, and what failed."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    yield (
        f"{facts['sweep']} ({facts['id']}): {facts['state']}. "
        f"{facts['requests_done']:,} of {facts['requests']:,} requests done, "
        f"{facts['errors']} errors, {facts['loads']} loads, {facts['tokens']:,} tokens."
    )
    table = Table(box=SIMPLE_HEAD)
    for name in ("step", "what", "model", "dataset", "done", "rows", "errors"):
        table.add_column(name, justify="right" if name in ("done", "rows", "errors") else "left")
    for step in facts["steps"]:
        names = (step["id"][:8], step["name"], step["model"], step["dataset"])
        table.add_row(*names, *(f"{step[name]:,}" for name in ("rows_done", "rows", "errors")))
    yield table
    for engine in facts["engines"]:
        yield f"loaded {engine['name']} in {engine['load_s']:.1f} s on {engine['node']} ({engine['fingerprint']})"
    for model, reason in facts["failures"].items():
        yield f"{model} failed: {reason}"
    yield f"Run: {facts['run_dir']}\nStore: {facts['store']}"


def _state(status: RunStatus, host: str) -> str:
    """The run's state; a run whose process is gone without a word was killed."""
    if status.state == "running" and status.host == host and not psutil.pid_exists(status.pid):
        return "killed"
    return status.state


def _read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """The ledger's events; a last line that a kill cut short is passed over."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue

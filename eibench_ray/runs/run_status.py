"""Status of a run: its record, the store's count of rows, and what its ledger says of loads and of GPU time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.errors import DataError, StoreError
from eibench_ray.plan.blockers import describe_blocked, without_blocked
from eibench_ray.plan.graph import Cell, DatasetSpec, Plan, Step
from eibench_ray.plan.slices import MOST_ROWS, StepWork, cut
from eibench_ray.plan.step_names import name_steps
from eibench_ray.runs.find_run import SILENT_S, FoundRun, state_of
from eibench_ray.runs.ledger_file import describe_usage, read_ledger
from eibench_ray.runs.pinned_inputs import find_dataset_changes
from eibench_ray.runs.resume import find_work, open_indexes, read_costs
from eibench_ray.runs.run_record import LEDGER_FILE, RunManifest, RunStatus
from eibench_ray.runs.run_view import CellPhase, RunViewer
from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.schedule.gpu_usage import GpuUsage, step_roles
from eibench_ray.store.slice_store import Store
from eibench_ray.submit.sbatch import Queued, ask_queue, describe_queue
from eibench_ray.submit.submission import read_jobs
from eibench_ray.terminal.run_log import LOG_FILE
from eibench_ray.worker.last_lines import read_end

# What `status` shows of a run's log while it runs, and of one that did not end as it should.
TAIL_LINES, TAIL_BYTES = 8, 16 << 10
_QUIET = frozenset({"finished", "budget_spent", "handed_over"})


def describe_run(found: FoundRun) -> dict[str, Any]:
    """Status of a run, as plain values."""
    manifest, status, store, folder = found.manifest, found.status, found.store, found.folder
    plan = manifest.plan
    changes = find_dataset_changes(manifest)
    work = _find_work(manifest, status, store)
    unfinished = [cell for cell in plan.cells if any(work[step].todo for step in cell.steps)]
    costs = read_costs(plan, store)
    jobs = read_jobs(folder.parent) or ([status.slurm_job] if status.slurm_job else [])
    queue = {job: ask_queue(job) for job in jobs}
    state = state_in_queue(status, queue)
    silent_s = time.time() - status.updated_at
    names = name_steps(plan)
    endings = {step.id: _count_endings(step, plan.datasets[step.dataset], store) for step in plan.steps.values()}
    answers = {answer for cell in plan.cells for answer in cell.answers}
    loads: list[Mapping[str, Any]] = []
    events = _note_loads(read_ledger(folder / LEDGER_FILE), loads)
    asked = without_blocked(plan)
    usage = account(events, step_roles(asked), until=time.time() if state == "running" else None)
    return {
        "run_dir": str(folder.absolute()),
        "folder_is_gone": not found.has_folder,
        "store": store.root,
        "id": status.id,
        "sweep": plan.sweep,
        "state": state,
        "error": status.error,
        "changes": changes,
        "silent_s": round(silent_s, 1) if state == "running" and silent_s > SILENT_S else None,
        "queue": [describe_queue(job, queued) for job, queued in queue.items()],
        "waits": status.waits if state == "running" else [],
        "log": str((folder / LOG_FILE).absolute()),
        "log_tail": read_tail(folder / LOG_FILE) if state not in _QUIET else [],
        "failures": status.failures,
        "failed_cells": status.failed_cells,
        "requests": sum(left.num_requests for left in work.values()),
        "requests_done": sum(left.num_replied for left in work.values()),
        "errors": sum(left.num_errors for left in work.values()),
        "quarantined": sum(left.num_quarantined for left in work.values()),
        "truncated": sum(endings[step][0] for step in answers),
        "empty": sum(endings[step][1] for step in answers),
        "loads": sum(plan.engines[event["engine"]].is_load for event in loads),
        "tokens": status.tokens,
        "cost_usd": _sum_costs(costs, plan.steps),
        "run_cost_usd": status.cost_usd if costs else None,
        "budget_usd": status.budget_usd,
        "shortage": status.shortage,
        "engines": [
            {
                "name": event["model"],
                "load_s": event["load_s"],
                "node": event["node"],
                "fingerprint": event["fingerprint"],
                "chosen": dict(plan.engines[event["engine"]].chosen),
            }
            for event in loads
        ],
        "steps": [
            {
                "id": step.id,
                "name": step.name,
                "title": names[step.id].title,
                "what": names[step.id].what,
                "asked": names[step.id].asked,
                "model": plan.model_of(step),
                "setting": names[step.id].setting,
                "judge": names[step.id].judge,
                "dataset": step.dataset,
                "rows": work[step.id].num_requests,
                "rows_done": work[step.id].num_replied,
                "errors": work[step.id].num_errors,
                "truncated": endings[step.id][0],
                "empty": endings[step.id][1],
                "quarantined": work[step.id].num_quarantined,
                "cost_usd": costs.get(step.id),
            }
            for step in plan.steps.values()
        ],
        "cells": [
            {
                "model": cell.model,
                "setting": cell.setting,
                "dataset": cell.dataset,
                "judge": cell.judge,
                "requests": sum(work[step].num_requests for step in cell.steps),
                "requests_done": sum(work[step].num_replied for step in cell.steps),
                "errors": sum(work[step].num_errors for step in cell.steps),
                "cost_usd": _sum_costs(costs, cell.steps),
                "blocked": cell.blocked if cell in unfinished else None,
                "state": viewed.state.value if cell in unfinished else CellPhase.DONE.value,
                **_find_counts(status, cell),
            }
            for cell, viewed in zip(plan.cells, RunViewer(plan).view(status, time.time()).cells, strict=True)
        ],
        "blocked": list(describe_blocked(unfinished)),
        "gpu_time": describe_usage(usage, asked),
    }


def _find_counts(status: RunStatus, cell: Cell) -> dict[str, int | None]:
    """The samples of a cell, those that have a score, and their clusters, once the run has been scored."""
    names = (cell.model, cell.setting, cell.dataset, cell.judge)
    rows = status.summary["rows"] if status.summary else []
    found: Mapping[str, Any] = next(
        (one for one in rows if (one["model"], one["setting"], one["dataset"], one["judge"]) == names), {}
    )
    return {name: found.get(name) for name in ("n", "scored", "clusters")}


def _count_endings(step: Step, spec: DatasetSpec, store: Store) -> tuple[int, int]:
    """Number of a step's replies that were truncated, and that are empty."""
    if spec.chosen is None:
        return store.count_endings(step.id, spec.num_rows)
    try:
        index = open_dataset(spec.path).index()
    except (DataError, StoreError):
        return store.count_endings(step.id, spec.rows[-1] + 1)
    num_truncated = num_empty = 0
    # A slice's summary may be of another choice of samples.
    for part in cut(step.id, spec.rows, store.slice_rows(step.id) or MOST_ROWS):
        if committed := store.read_slice(step.id, part.index):
            names = part.pick(list(index.rows(part.start, part.stop)))
            rows = [committed[name] for name, _ in names if name in committed]
            num_truncated += sum(row.is_truncated for row in rows)
            num_empty += sum(row.is_empty for row in rows)
    return num_truncated, num_empty


def read_tail(path: Path) -> list[str]:
    """The last lines of a run's log; none where there is no log."""
    return read_end(path, TAIL_BYTES).decode(errors="replace").splitlines()[-TAIL_LINES:]


def read_usage(folder: Path, plan: Plan) -> GpuUsage:
    """GPU time of a run by use, as its ledger tells it so far."""
    return account(read_ledger(folder / LEDGER_FILE), step_roles(plan))


def _note_loads(events: Iterable[dict[str, Any]], loads: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The events; those of replicas that became ready are kept in `loads`."""
    for event in events:
        if event["event"] == "replica_ready":
            loads.append(event)
        yield event


def _sum_costs(costs: Mapping[str, float], steps: Iterable[str]) -> float | None:
    """Cost of some steps together; None where none of them has a price."""
    known = [costs[step] for step in steps if step in costs]
    return sum(known) if known else None


def state_in_queue(status: RunStatus, queue: Mapping[str, list[Queued] | None]) -> str:
    """The run's state; a run whose process, or whose job, is gone without a word was killed."""
    if status.state == "running" and status.slurm_job is not None:
        known = [queued for queued in queue.values() if queued is not None]
        runs = any(one.state not in ("PENDING", "COMPLETING") for queued in known for one in queued)
        return "killed" if known and not runs else "running"
    return state_of(status)


def _find_work(manifest: RunManifest, status: RunStatus, store: Store) -> Mapping[str, StepWork]:
    """Progress of each step; as the run itself last counted, where its datasets are not there any more."""
    plan = manifest.plan
    try:
        indexes = open_indexes(plan)
    except (DataError, StoreError):
        rows = {name: plan.datasets[step.dataset].num_rows for name, step in plan.steps.items()}
        return {name: StepWork(num, min(num, status.done.get(name, 0)), 0, ()) for name, num in rows.items()}
    # Before it asked anything, the run fixed the slices of all steps that it asks: nothing here is new to the store.
    return find_work(plan, indexes, store, dict.fromkeys(plan.steps, MOST_ROWS), manifest.retry)

"""Status of a run: its record, the store's count of rows, and what its ledger says of loads and of GPU time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eibench_ray.errors import DataError, StoreError
from eibench_ray.plan.blockers import describe_blocked, without_blocked
from eibench_ray.plan.engine_traits import describe_chosen
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import StepWork
from eibench_ray.plan.step_names import name_steps
from eibench_ray.planner.slice_size import MOST
from eibench_ray.ratelimit.budget import Budget
from eibench_ray.rows.prices import format_usd
from eibench_ray.runs.failed_cells import describe_failed
from eibench_ray.runs.find_run import SILENT_S, FoundRun, state_of
from eibench_ray.runs.introduction import count
from eibench_ray.runs.ledger_file import describe_usage, read_ledger
from eibench_ray.runs.pinned_inputs import find_dataset_changes
from eibench_ray.runs.planning import open_indexes, read_costs
from eibench_ray.runs.resume import find_work
from eibench_ray.runs.run_record import LEDGER_FILE, RunManifest, RunStatus
from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.schedule.gpu_usage import Usage, step_roles
from eibench_ray.schedule.replica_meter import UNHELD, TimeKind
from eibench_ray.store.slice_store import Store
from eibench_ray.submit.sbatch import Queued, ask_queue, describe_queue
from eibench_ray.submit.submission import read_jobs
from eibench_ray.terminal.fitting_table import Column, FittingTable
from eibench_ray.terminal.run_log import LOG_FILE
from eibench_ray.visible_text import in_line, in_page

if TYPE_CHECKING:
    from rich.console import RenderableType

# Of more steps, those that ask the same of the same are one line.
MAX_STEP_LINES = 40
_STATES = {"preempted": "ended early (a signal or its walltime)"}
# What `status` shows of a run's log while it runs, and of one that did not end as it should.
TAIL_LINES, TAIL_BYTES = 8, 16 << 10
_QUIET = frozenset({"finished", "budget_spent"})
QUARANTINE = "quarantined; retry=quarantined asks again"


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
    state = _state(status, queue)
    silent_s = time.time() - status.updated_at
    names = name_steps(plan)
    endings = {step.id: store.count_endings(step.id, work[step.id].num_rows) for step in plan.steps.values()}
    answers = {cell.answer for cell in plan.cells}
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
                "model": plan.engines[step.engine].name,
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
                "cost_usd": _sum_costs(costs, cell.steps),
                "blocked": cell.blocked if cell in unfinished else None,
            }
            for cell in plan.cells
        ],
        "blocked": list(describe_blocked(unfinished)),
        "gpu_time": describe_usage(usage, asked),
    }


def read_tail(path: Path) -> list[str]:
    """The last lines of a run's log; none where there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return lines[1 if size > TAIL_BYTES else 0 :][-TAIL_LINES:]


def read_usage(folder: Path, plan: Plan) -> Usage:
    """GPU time of a run by use, as its ledger tells it so far."""
    return account(read_ledger(folder / LEDGER_FILE), step_roles(plan))


def render_status(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The status as a heading, a table of steps, and what failed."""
    from rich.text import Text

    cost = facts["cost_usd"]
    paid = "" if cost is None else f", {Budget(facts['budget_usd'], cost)}"
    ended = ", ".join(f"{facts[name]:,} {name}" for name in ("truncated", "empty") if facts[name])
    yield (
        f"{in_line(facts['sweep'])} ({facts['id']}): {_STATES.get(facts['state'], facts['state'].replace('_', ' '))}. "
        f"{facts['requests_done']:,} of {facts['requests']:,} requests done, "
        f"{count(facts['errors'], 'error')}, {count(facts['loads'], 'load')}, {facts['tokens']:,} tokens{paid}."
    )
    if ended:
        yield f"Of the final answers: {ended} (truncated: cut off at the limit of tokens; empty: without a word)."
    yield from map(Text, facts["waits"])
    if facts["error"]:
        yield f"Ended by: {in_page(facts['error'])}"
    if facts["silent_s"] is not None:
        yield f"It has said nothing for {facts['silent_s'] / 60:,.0f} min, and its process cannot be seen from here."
    for change in facts["changes"]:
        yield f"Not as the run was: {in_line(change)}; rows that do not fit any more count as not done."
    yield _render_steps(facts["steps"], has_price=bool(paid))
    yield from render_usage(facts["gpu_time"], {engine["name"]: engine for engine in facts["gpu_time"]["engines"]})
    for engine in facts["engines"]:
        named = in_line(f"{engine['node']} ({engine['fingerprint']})")
        auto = f", {describe_chosen(engine['chosen'])}" if engine["chosen"] else ""
        yield f"loaded {in_line(engine['name'])} in {engine['load_s']:.1f} s on {named}{auto}"
    yield from map(Text, map(in_line, facts["blocked"]))
    for step in facts["steps"]:
        if step["quarantined"]:
            dying = f"{in_line(step['title'])}: rows kill the engine of {in_line(step['model'])}"
            yield f"{dying}: {step['quarantined']} {QUARANTINE}"
    for model, reason in facts["failures"].items():
        yield f"{in_line(model)} failed: {in_page(reason)}"
    yield from map(Text, describe_failed(facts["failed_cells"], facts["failures"]))
    if facts["shortage"]:
        yield facts["shortage"]
    yield from facts["queue"]
    if facts["log_tail"]:
        yield f"Its log ({in_line(facts['log'])}) ends with:"
        yield from (Text(f"  {in_line(line)}") for line in facts["log_tail"])
    if facts["folder_is_gone"]:
        yield "Its folder is gone, or not to be seen from here."


def _render_steps(steps: Sequence[Mapping[str, Any]], *, has_price: bool) -> FittingTable:
    """A line per step; where they are too many to read, one per call and whoever is asked."""
    if len(steps) > MAX_STEP_LINES:
        alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for step in steps:
            alike.setdefault((step["what"].partition("[")[0], step["asked"]), []).append(step)
        titles = [f"{what} by {asked} ({len(group)} steps)" for (what, asked), group in alike.items()]
        groups = list(alike.values())
    else:
        titles, groups = [step["title"] for step in steps], [[step] for step in steps]
    columns = [Column("step", list(map(in_line, titles)), is_name=True)]
    for heading, name in (("done", "rows_done"), ("rows", "rows"), ("errors", "errors")):
        columns.append(Column(heading, [f"{_sum(group, name):,}" for group in groups]))
    for name in ("truncated", "empty"):
        if any(step[name] for step in steps):
            columns.append(Column(name, [f"{_sum(group, name):,}" for group in groups]))
    if has_price:
        costs = [[step["cost_usd"] for step in group if step["cost_usd"] is not None] for group in groups]
        columns.append(Column("cost $", [format_usd(sum(paid)) if paid else "-" for paid in costs], rank=1))
    return FittingTable(columns)


def _sum(steps: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(step[name] for step in steps)


def render_usage(gpu_time: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Renders GPU time: a row for all, one per named part, and why GPUs were free; nothing where none passed.

    Args:
        gpu_time: as `describe_usage` gives it.
        parts: some of its engines or cells, by the name of their row.
    """
    if not (total := gpu_time["seconds"]):
        return
    kinds = [kind for kind in TimeKind if kind in gpu_time["kinds"] and kind not in UNHELD]
    unit, unit_s = ("hours", 3600) if total >= 3600 else ("seconds", 1)
    everything = {kind: part["seconds"] for kind, part in gpu_time["kinds"].items()}
    rows = {"all": {"seconds": total, "kinds": everything}} | dict(parts)
    columns = [
        Column("where the time went", list(map(in_line, rows)), is_name=True),
        Column(f"{gpu_time['unit']}-\n{unit}", [f"{part['seconds'] / unit_s:,.1f}" for part in rows.values()]),
        Column("share", [f"{part['seconds'] / total:.1%}" for part in rows.values()]),
    ]
    for kind in kinds:
        shares = [f"{part['kinds'].get(kind, 0.0) / total:.1%}" for part in rows.values()]
        columns.append(Column(kind.label.replace(" ", "\n"), shares, rank=1))
    yield FittingTable(columns)
    if free := [
        f"{part['share']:.1%} {TimeKind(kind).label}" for kind, part in gpu_time["kinds"].items() if kind in UNHELD
    ]:
        yield f"GPUs that no replica held: {', '.join(free)}"


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


def _state(status: RunStatus, queue: Mapping[str, list[Queued] | None]) -> str:
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
    return find_work(plan, indexes, store, dict.fromkeys(plan.steps, MOST), manifest.retry)

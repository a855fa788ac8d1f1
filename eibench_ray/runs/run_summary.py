"""The answer of a run for programs, and its counts in a line for people."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eibench_ray.driver.run_progress import EngineTotals, RunResult
from eibench_ray.plan.slices import cut
from eibench_ray.plan.step_names import titles
from eibench_ray.ratelimit.budget import Budget
from eibench_ray.report.leaderboard_files import to_json_rows
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.rows.completion import ABSENT, RowErrorKind
from eibench_ray.rows.prices import format_usd
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.resume import open_indexes
from eibench_ray.runs.run_record import RunStatus
from eibench_ray.runs.run_status import read_usage
from eibench_ray.scoring.rounding import NO_VALUE
from eibench_ray.terminal.fitting_table import Column, FittingTable
from eibench_ray.terminal.run_log import LOG_FILE
from eibench_ray.visible_text import count, in_line

# Heading -> key of the sums of a model.
_COLUMNS = {"new": "completions_new", "tokens in": "prompt_tokens", "tokens out": "completion_tokens"}


def summarise(
    sweep: PlannedSweep, folder: Path, rows: Sequence[LeaderboardRow], done: RunResult, wall_s: float
) -> dict[str, Any]:
    """The answer for programs."""
    unanswered, quarantined = _find_unanswered(sweep)
    num_absent = unanswered.pop(ABSENT, 0)
    return {
        "run_dir": str(folder.absolute()),
        "log": str((folder / LOG_FILE).absolute()),
        "store": sweep.store.root,
        "cells": len(rows),
        "cells_blocked": sum(bool(row.blocked) for row in rows),
        "cells_failed": sum(bool(row.failed) for row in rows),
        "requests": sweep.plan.num_requests - num_absent,
        "completions_new": done.num_new,
        "completions_reused": sum(left.num_replied - left.num_errors for left in sweep.work.values()),
        "errors": unanswered.total(),
        "errors_by_kind": dict(unanswered.most_common()),
        "quarantined": quarantined,
        "loads": done.num_loads,
        "models": _sum_models(sweep, folder, done),
        "wall_s": round(wall_s, 2),
        "interrupted": done.was_interrupted,
        "preempted": done.was_preempted,
        "handed_over": done.was_handed_over,
        "rows": to_json_rows(list(rows)),
    }


def _sum_models(sweep: PlannedSweep, folder: Path, done: RunResult) -> list[dict[str, Any]]:
    """Rows, tokens, GPU time and cost of each engine in this run, in the plan's order."""
    usage = read_usage(folder, sweep.plan)
    held_s: defaultdict[str, float] = defaultdict(float)
    for replica in usage.replicas:
        held_s[replica.engine] += (replica.end - replica.start) * len(replica.gpus)
    sums = []
    for key, spec in sweep.plan.engines.items():
        totals = done.engines.get(key, EngineTotals())
        if totals.num_new or (usage.unit == "GPU" and held_s[key]):
            sums.append(
                {
                    "model": spec.name,
                    "completions_new": totals.num_new,
                    "prompt_tokens": totals.prompt_tokens,
                    "completion_tokens": totals.completion_tokens,
                    "gpu_hours": round(held_s[key] / 3600, 4) if usage.unit == "GPU" else None,
                    "cost_usd": round(totals.cost_usd, 8) if spec.price else None,
                }
            )
    return sums


def render_models(models: Sequence[Mapping[str, Any]]) -> FittingTable:
    """The rows, tokens, GPU-hours and cost of each model in a table; what nothing is known of has no column."""
    columns = [Column("model", [in_line(one["model"]) for one in models], is_name=True)]
    for heading, name in _COLUMNS.items():
        columns.append(Column(heading, [f"{one[name]:,}" for one in models]))
    if any(one["gpu_hours"] is not None for one in models):
        columns.append(Column("GPU-hours", [f"{one['gpu_hours']:,.2f}" for one in models]))
    if any(one["cost_usd"] is not None for one in models):
        costs = [one["cost_usd"] for one in models]
        columns.append(Column("cost $", [NO_VALUE if cost is None else format_usd(cost) for cost in costs]))
    return FittingTable(columns)


def suggest_command(summary: Mapping[str, Any]) -> str:
    """The command that most people want next, and what it does."""
    run = Path(summary["run_dir"])
    name = shlex.quote(str(run.relative_to(Path.cwd()) if run.is_relative_to(Path.cwd()) else run))
    scored = Counter((row["dataset"], row["judge"]) for row in summary["rows"] if row["scored"])
    if not scored:
        has_failed = summary["cells_failed"] or summary["errors"]
        return f"eibench-ray status {name}  ({'what went wrong' if has_failed else 'how far it is'})"
    if max(scored.values()) > 1:
        return f"eibench-ray compare {name}  (which differences are more than chance)"
    return f"eibench-ray show {name}  (what was asked about a sample, and what came back)"


def make_bill(sweep: PlannedSweep, status: RunStatus, budget: Budget) -> dict[str, Any]:
    """Cost of a run, for programs; nulls where nothing has a price."""
    return {
        "cost_usd": round(budget.spent_usd, 8) if sweep.is_paid else None,
        "run_cost_usd": round(status.cost_usd, 8) if sweep.is_paid else None,
        "budget_usd": budget.budget_usd,
        "shortage": status.shortage,
    }


def describe_counts(summary: Mapping[str, Any]) -> str:
    """Counts and cost of a run, in a line."""
    reused, wall_s, cost_usd = summary["completions_reused"], summary["wall_s"], summary["run_cost_usd"]
    words = [count(summary["completions_new"], "new completion"), f"{reused:,} from the store"]
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in summary["errors_by_kind"].items())
    words += [count(summary["errors"], "error") + (f" ({kinds})" if kinds else ""), count(summary["loads"], "load")]
    words += [f"${format_usd(cost_usd)}"] if cost_usd is not None else []
    return ", ".join([*words, f"{wall_s:.1f} s"])


def _find_unanswered(sweep: PlannedSweep) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Rows of all steps without an answer as they stand in the store now.

    How many per kind of error, and absent; and the samples of which an engine died, by the step that asked for them.
    """
    indexes, names = open_indexes(sweep.plan), titles(sweep.plan)
    counts: Counter[str] = Counter()
    quarantined = []
    for step in sweep.plan.steps.values():
        before = sweep.work[step.id]
        if before.num_done == before.num_rows and not before.num_errors + before.num_absent:
            continue  # it had all its answers when the run began
        asked = sweep.plan.datasets[step.dataset].rows
        samples: list[str] = []
        for slice_ in cut(step.id, asked, sweep.store.slice_rows(step.id) or len(asked)):
            if found := sweep.store.read_unanswered(step.id, slice_.index):
                there = list(indexes[step.dataset].rows(slice_.start, slice_.stop))
                rows = [sample_id for sample_id, _ in slice_.pick(there) if sample_id in found]
                counts.update(found[sample_id] for sample_id in rows)
                samples += [sample_id for sample_id in rows if found[sample_id] == RowErrorKind.QUARANTINED]
        if samples:
            model = sweep.plan.model_of(step)
            where = {"model": model, "name": step.name, "dataset": step.dataset, "step": step.id}
            where["title"] = names[step.id]
            quarantined.append(where | {"samples": samples})
    return counts, quarantined

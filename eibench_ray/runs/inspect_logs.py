"""Writes a run as logs of Inspect, one per cell, for `inspect view` and `inspect_ai.log.read_eval_log`.

The format is Inspect's EvalLog, version 2, as JSON (inspect-ai 0.3.285). Pictures are named by their paths: none is
copied into a log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eibench_ray.errors import StoreError
from eibench_ray.report.cell_folders import names_of
from eibench_ray.runs.results import Results
from eibench_ray.storage.atomic_files import replacing
from eibench_ray.storage.path_names import path_names
from eibench_ray.versions import __version__

if TYPE_CHECKING:
    from eibench_ray.plan.graph import Cell
    from eibench_ray.report.leaderboard_row import LeaderboardRow
    from eibench_ray.rows.completion import Completion
    from eibench_ray.rows.sample import Sample
    from eibench_ray.runs.run_record import RunManifest
    from eibench_ray.scoring.cell_score import MetricScore
    from eibench_ray.scoring.joined_row import JoinedAnswer, JoinedRow
    from eibench_ray.store.slice_store import Store

# Inspect's reasons to stop, by those of this package's engines; any other one is `unknown` there.
_STOPS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}


def export_inspect(manifest: RunManifest, store: Store, out: Path) -> dict[str, Any]:
    """Writes OUT/TIME_MODEL.SETTING.DATASET.JUDGE_KEY.json for each cell, and returns counts of what was written.

    The viewer lists what is named so.

    Raises:
        StoreError: `out` is a file.
    """
    if out.exists() and not out.is_dir():
        raise StoreError(f"{out} is a file: name a folder with --out")
    results, counts = Results(manifest.plan, store), {"cells": 0, "samples": 0}
    files = path_names(map(names_of, manifest.plan.cells))
    out.mkdir(parents=True, exist_ok=True)
    for cell in manifest.plan.cells:
        row, name = results.score(cell, manifest.score), files[names_of(cell)].replace("_", "-")
        with (
            replacing(out / f"{_created(manifest).replace(':', '-')}_{name}_{cell.key}.json") as temporary,
            Path(temporary).open("w", encoding="utf-8") as file,
        ):
            header = _header(manifest, cell, row)
            file.write(json.dumps(header, allow_nan=False)[:-1] + ', "samples": [')
            for number, sample in enumerate(_samples(cell, results.join(cell))):
                file.write(("," if number else "") + "\n" + json.dumps(sample, allow_nan=False))
                counts["samples"] += 1
            file.write("\n]}\n")
        counts["cells"] += 1
    return counts


def _created(manifest: RunManifest) -> str:
    return datetime.fromtimestamp(manifest.started_at, UTC).isoformat(timespec="seconds")


def _header(manifest: RunManifest, cell: Cell, row: LeaderboardRow) -> dict[str, Any]:
    """All of a log but its samples."""
    created = _created(manifest)
    overall = row.score.metrics[0].overall
    chosen = {"setting": cell.setting, "judge": cell.judge}
    return {
        "version": 2,
        "status": "cancelled" if row.is_partial or row.failed or row.blocked else "success",
        "eval": {
            "eval_id": f"{manifest.id}-{cell.key}",
            "run_id": manifest.id,
            "task_id": cell.key,
            "created": created,
            "task": f"{cell.dataset}/{cell.setting}",
            "task_args": chosen,
            "dataset": {"name": cell.dataset, "samples": overall.n, "shuffled": False},
            "model": cell.model,
            "config": {"epochs": len(cell.answers)},
            "packages": {"eibench-ray": __version__},
            "metadata": chosen | {"marks": row.marks, "self_judged": cell.self_judged, "failed": row.failed},
        },
        "plan": {"name": cell.setting, "steps": []},
        "results": {
            "total_samples": overall.n,
            "completed_samples": overall.n - row.score.statuses.get("missing", 0),
            "scores": [_figures(cell, one) for one in row.score.metrics],
        },
        "stats": {"started_at": created, "completed_at": created},
    }


def _figures(cell: Cell, one: MetricScore) -> dict[str, Any]:
    """A metric with its interval, as far as they are known."""
    overall = one.overall
    values = {one.metric.name: overall.value, "ci_low": overall.ci_low, "ci_high": overall.ci_high}
    return {
        "name": one.metric.name,
        "scorer": cell.judge,
        "scored_samples": overall.num_scored,
        "unscored_samples": overall.n - overall.num_scored,
        "metrics": {name: {"name": name, "value": value} for name, value in values.items() if value is not None},
    }


def _samples(cell: Cell, rows: Iterable[JoinedRow]) -> Iterator[dict[str, Any]]:
    """Each answer of each sample; an epoch of Inspect's is a repeat of the setting."""
    for row in rows:
        for epoch, one in enumerate(row.by_answer, start=1):
            if one.answer is not None:
                yield _sample(cell, row, one, one.answer, epoch)


def _sample(cell: Cell, row: JoinedRow, one: JoinedAnswer, answer: Completion, epoch: int) -> dict[str, Any]:
    asked, choices = _asked(row.sample), row.sample.read("choices")
    usage: dict[str, Any] = {
        "input_tokens": answer.prompt_tokens,
        "output_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
    if answer.cost_usd is not None:
        usage["total_cost"] = answer.cost_usd
    said: Any = answer.text or ""
    if answer.thinking:
        said = [{"type": "reasoning", "reasoning": answer.thinking}, {"type": "text", "text": said}]
    message = {"role": "assistant", "source": "generate", "model": cell.model, "content": said}
    sample: dict[str, Any] = {
        "id": row.sample.sample_id,
        "epoch": epoch,
        "input": asked,
        "target": list(row.sample.targets) or "",
        "messages": [{"role": "user", "source": "input", "content": asked}, message],
        "output": {
            "model": cell.model,
            "choices": [{"message": message, "stop_reason": _STOPS.get(answer.finish_reason or "", "unknown")}],
            "completion": answer.text or "",
            "usage": usage,
            "time": answer.latency_s,
        },
        "scores": _scores(cell, row, one),
        "metadata": {
            **row.sample.metadata,
            "inputs": dict(row.sample.inputs),
            "images": [media.path for media in row.sample.media],
            "score_statuses": [str(score.status) if score else "missing" for score in one.scores],
            "request_digest": answer.request_digest,
            "engine": answer.engine,
        },
        "model_usage": {cell.model: usage},
    }
    if isinstance(choices, tuple | list):
        sample["choices"] = list(map(str, choices))
    if answer.error_kind is not None:
        said = f"{answer.error_kind}: {answer.error}"
        sample["error"] = {"message": said, "traceback": said, "traceback_ansi": said}
    return sample


def _asked(sample: Sample) -> str:
    """The sample's texts; its pictures by their paths."""
    texts = [sample.inputs["question"]] if "question" in sample.inputs else list(sample.inputs.values())
    return "\n\n".join([*(f"[picture: {media.path}]" for media in sample.media), *texts])


def _scores(cell: Cell, row: JoinedRow, one: JoinedAnswer) -> dict[str, Any]:
    """The scores that there are, by the judge's name and the number of its repeat; a missing one has a status only."""
    found = {}
    replies = iter(()) if row.is_jury else iter(one.replies)
    for repeat, score in enumerate(one.scores, start=1):
        reply = next(replies, None)
        if score is None or not score.values:
            continue
        [first, *others] = score.values.values()
        found[cell.judge if repeat == 1 else f"{cell.judge} {repeat}"] = {
            "value": dict(score.values) if others else first,
            "answer": score.extracted or (one.answer.text if one.answer else None),
            "explanation": score.explanation,
            "metadata": {"details": dict(score.details), "reply": reply.text if reply else None},
        }
    return found

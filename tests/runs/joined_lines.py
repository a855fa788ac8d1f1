"""A cell's joined rows made line by line from its rows: what the columns of an export are compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.report.cell_folders import KEYS, names_of
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.digests import digest_input
from eibench_ray.runs.results import Results
from eibench_ray.scoring.cell_columns import MIN_COVERAGE
from eibench_ray.scoring.joined_row import JoinedRow
from eibench_ray.scoring.scorer import Score
from eibench_ray.store.slice_store import Store

ANSWER = (
    "error_kind error finish_reason prompt_tokens completion_tokens latency_s cost_usd mean_logprob likelihoods "
    "thinking thinking_tokens engine request_digest"
)
REPLY = (
    "error_kind error attempt finish_reason completion_tokens cost_usd mean_logprob thinking thinking_tokens engine "
    "request_digest"
)


def lines_of(plan: Plan, results: Results, cell: Cell) -> list[dict[str, Any]]:
    """A line per sample, repeat of the setting and repeat of the judge, without the columns of the sample."""
    same = dict(zip(KEYS, names_of(cell), strict=True))
    same |= {"answer_source": plan.answer_source(cell), "judge_source": plan.judge_source(cell)}
    unjudged = "blocked" if cell.blocked else "missing"
    return [line | same for row in results.join(cell) for line in _flatten(row, unjudged)]


def current_rows(plan: Plan, store: Store, cell: Cell) -> dict[str, dict[str, Completion]]:
    """By sample id and step, the rows made from what the dataset and the earlier steps say now, each looked at."""
    dataset = open_dataset(plan.datasets[cell.dataset].path)
    index = list(dataset.index().rows(0, dataset.num_rows))
    current: dict[str, dict[str, Completion]] = {sample_id: {} for sample_id, _ in index}
    for step in cell.steps:
        committed = store.read_rows(step, 0, [sample_id for sample_id, _ in index])
        for sample_id, row_digest in index:
            made, row = current[sample_id], committed.get(sample_id)
            sources = plan.steps[step].inputs.values()
            if row is None or not made.keys() >= {*sources}:
                continue
            if row.input_digest == digest_input(row_digest, [made[source].output_digest for source in sources]):
                made[step] = row
    return current


def is_partial(results: Results, cell: Cell) -> bool:
    """Whether a sample was not asked, or too few have a score."""
    rows = list(results.join(cell))
    num_scored = sum(row.value is not None for row in rows)
    return any(None in row.scores for row in rows) or 0 < num_scored < MIN_COVERAGE * len(rows)


def _flatten(row: JoinedRow, unjudged: str) -> Iterator[dict[str, Any]]:
    cost_usd = row.cost_usd
    for number, one in enumerate(row.by_answer, start=1):
        for repeat, (said, score) in enumerate(one.replies_by_score, start=1):
            reply = said[0] if len(said) == 1 and not row.is_jury else None
            texts = [each.text if each else None for each in said]
            yield {
                **_show_completion("answer", one.answer, ANSWER),
                **_show_completion("reply", reply, REPLY),
                **_show_score(row, score, unjudged),
                "answer_empty": one.answer.is_empty if one.answer else None,
                "sample_id": row.sample.sample_id,
                "replies": json.dumps(texts, ensure_ascii=False) if said and reply is None else None,
                "baseline_answer": one.compared.text if one.compared else None,
                "answer_repeat": number,
                "repeat": repeat,
                "cost_usd": cost_usd,
            }
            cost_usd = None


def _show_completion(prefix: str, row: Completion | None, names: str) -> dict[str, Any]:
    shown = {f"{prefix}_{name}": getattr(row, name) if row else None for name in names.split()}
    return {**shown, prefix: row.text if row else None, f"{prefix}_truncated": row.is_truncated if row else None}


def _show_score(row: JoinedRow, score: Score | None, unjudged: str) -> dict[str, Any]:
    return {
        "metric": row.metric,
        "score": score.values.get(row.metric) if score else None,
        "score_status": str(score.status) if score else unjudged,
        "scores": _to_json(score.values) if score else None,
        "explanation": score.explanation if score else None,
        "details": _to_json(score.details) if score else None,
    }


def _to_json(values: Mapping[str, Any]) -> str | None:
    return json.dumps(dict(values), ensure_ascii=False) if values else None

"""Export: the joined view of a run, for Polars and the like."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.errors import StoreError
from eibench_ray.report.cell_folders import KEYS, CellFolders, names_of
from eibench_ray.runs.sample_columns import SampleColumns, find_columns
from eibench_ray.scoring.cell_columns import MIN_COVERAGE
from eibench_ray.storage.atomic_files import replacing

if TYPE_CHECKING:
    from eibench_ray.plan.graph import Cell, Plan, Source
    from eibench_ray.rows.completion import Completion
    from eibench_ray.runs.results import Results
    from eibench_ray.runs.run_record import RunManifest
    from eibench_ray.scoring.joined_row import JoinedRow
    from eibench_ray.scoring.scorer import Score
    from eibench_ray.store.slice_store import Store

GROUP_ROWS = 16_384

# As the folders have them, and as text: without them readers would make a date or a number of some names.
_NAMES = [pa.field(name, pa.string(), nullable=False) for name in (*KEYS, "sample_id")]
# Between these stand the columns of the samples.
_FIGURES = pa.schema(
    [
        pa.field("answer_repeat", pa.int16(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("answer_error_kind", pa.string()),
        pa.field("answer_error", pa.string()),
        pa.field("answer_finish_reason", pa.string()),
        pa.field("answer_truncated", pa.bool_()),
        pa.field("answer_empty", pa.bool_()),
        pa.field("answer_prompt_tokens", pa.int32()),
        pa.field("answer_completion_tokens", pa.int32()),
        pa.field("answer_latency_s", pa.float32()),
        pa.field("answer_cost_usd", pa.float64()),
        pa.field("answer_mean_logprob", pa.float32()),
        pa.field("answer_likelihoods", pa.string()),  # of the choices that were compared, as JSON
        pa.field("answer_thinking", pa.string()),
        pa.field("answer_thinking_tokens", pa.int32()),
        pa.field("answer_engine", pa.string()),
        pa.field("answer_request_digest", pa.string()),
        pa.field("baseline_answer", pa.string()),
        pa.field("repeat", pa.int16(), nullable=False),
        pa.field("reply", pa.string()),
        pa.field("replies", pa.string()),  # where several make the score, their texts in order, as JSON
        pa.field("reply_error_kind", pa.string()),
        pa.field("reply_error", pa.string()),
        pa.field("reply_attempt", pa.int16()),
        pa.field("reply_finish_reason", pa.string()),
        pa.field("reply_truncated", pa.bool_()),
        pa.field("reply_completion_tokens", pa.int32()),
        pa.field("reply_cost_usd", pa.float64()),
        pa.field("reply_mean_logprob", pa.float32()),
        pa.field("reply_thinking", pa.string()),
        pa.field("reply_thinking_tokens", pa.int32()),
        pa.field("reply_engine", pa.string()),
        pa.field("reply_request_digest", pa.string()),
        pa.field("metric", pa.string()),
        pa.field("score", pa.float64()),  # the headline metric's
        pa.field("score_status", pa.string()),
        pa.field("scores", pa.string()),  # of all metrics, as JSON
        pa.field("explanation", pa.string()),
        pa.field("details", pa.string()),  # what the scores rest on, as JSON
        pa.field("cost_usd", pa.float64()),
        pa.field("answer_source", pa.string()),
        pa.field("judge_source", pa.string()),
    ]
)
# Of no reply, though their names begin as its columns do.
_OTHERS = ("answer_repeat", "answer_source")
# Beside each reply: what it is as `Completion` says, by the column's name.
_FLAGS = {"answer_truncated": "is_truncated", "answer_empty": "is_empty", "reply_truncated": "is_truncated"}
# Columns of an answer and of a reply, and the attributes of a row that they show.
_ATTRIBUTES = {
    prefix: [
        (name, _FLAGS.get(name, name.removeprefix(f"{prefix}_")))
        for name in _FIGURES.names
        if name.startswith(f"{prefix}_") and name not in _OTHERS
    ]
    for prefix in ("answer", "reply")
}


def export_rows(manifest: RunManifest, store: Store, out: Path) -> dict[str, Any]:
    """Writes rows/model=/.../rows.parquet, and returns counts of what was written.

    Raises:
        StoreError: `out` holds something else, or cannot be written.
    """
    from eibench_ray.runs.results import Results

    if out.exists() and not out.is_dir():
        raise StoreError(f"{out} is a file: name a folder with --out")
    plan, results = manifest.plan, Results(manifest.plan, store)
    num_rows = 0
    ended: Counter[str] = Counter()
    partial: list[str] = []
    folders = CellFolders(plan.cells)
    columns = _columns(plan, results)
    for cell in plan.cells:
        told = _Told()
        rows = told.watch(results.join(cell))
        _write_parquet(_tables(plan, cell, rows, columns), _schema(columns), folders.of(out / "rows", cell, *KEYS))
        ended.update(told.ended)
        num_rows += told.num_rows
        if told.gaps.is_partial:
            partial.append(cell.name)
    num_blocked = sum(cell.blocked is not None for cell in plan.cells)
    return {
        "cells": len(plan.cells),
        "cells_blocked": num_blocked,
        "cells_partial": partial,
        "cells_made_up": [cell.name for cell in plan.cells if "made_up" in _sources(plan, cell)],
        "cells_recorded": [cell.name for cell in plan.cells if "recorded" in _sources(plan, cell)],
        "rows": num_rows,
        **{name: ended[name] for name in _FLAGS},
    }


def _sources(plan: Plan, cell: Cell) -> tuple[Source, Source]:
    return plan.answer_source(cell), plan.judge_source(cell)


class GapMeter:
    """Whether a cell rests on all of its samples, as the leaderboard has it, told row by row."""

    def __init__(self) -> None:
        self._num_rows = self._num_scored = 0
        self._has_gaps = False

    def add(self, row: JoinedRow) -> None:
        """Counts a row."""
        self._num_rows += 1
        self._num_scored += row.value is not None
        self._has_gaps = self._has_gaps or None in row.scores

    @property
    def is_partial(self) -> bool:
        """Whether a sample was not asked, or too few have a score."""
        return self._has_gaps or 0 < self._num_scored < MIN_COVERAGE * self._num_rows


class _Told:
    """Counts of a cell beside its rows, made while they are written.

    Attributes:
        ended: how many answers and replies ended in which way, by the name of the column that says so.
    """

    def __init__(self) -> None:
        self.num_rows = 0  # rows that were written, one per repeat of the setting and of the judge
        self.ended: Counter[str] = Counter()
        self.gaps = GapMeter()  # whether it rests on all samples

    def watch(self, rows: Iterable[JoinedRow]) -> Iterator[JoinedRow]:
        """The rows as they are."""
        for row in rows:
            self.num_rows += len(row.scores)
            self.gaps.add(row)
            self.ended["answer_truncated"] += sum(one is not None and one.is_truncated for one in row.answers)
            self.ended["answer_empty"] += sum(one is not None and one.is_empty for one in row.answers)
            self.ended["reply_truncated"] += sum(reply is not None and reply.is_truncated for reply in row.replies)
            yield row


def joined_tables(plan: Plan, store: Store) -> Iterator[pa.Table]:
    """Yields the joined rows of all cells as `export_rows` writes them."""
    from eibench_ray.runs.results import Results

    results = Results(plan, store)
    columns = _columns(plan, results)
    for cell in plan.cells:
        yield from _tables(plan, cell, results.join(cell), columns)


def _columns(plan: Plan, results: Results) -> SampleColumns:
    """The columns of all samples of a run: readers want the same ones in each file."""
    return find_columns(chain.from_iterable(map(results.samples, plan.datasets)))


def _schema(columns: SampleColumns) -> pa.Schema:
    return pa.schema([*_NAMES, *columns.fields, *_FIGURES])


def _tables(plan: Plan, cell: Cell, rows: Iterable[JoinedRow], columns: SampleColumns) -> Iterator[pa.Table]:
    same = dict(zip(KEYS, names_of(cell), strict=True))
    same |= {"answer_source": plan.answer_source(cell), "judge_source": plan.judge_source(cell)}
    unjudged = "blocked" if cell.blocked else "missing"
    schema = _schema(columns)
    flat = ({**columns.row(row.sample), **line, **same} for row in rows for line in _flatten(row, unjudged))
    while group := list(islice(flat, GROUP_ROWS)):
        yield pa.Table.from_pylist(group, schema=schema)


def _write_parquet(tables: Iterable[pa.Table], schema: pa.Schema, folder: Path) -> None:
    with (
        replacing(folder / "rows.parquet") as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table)


def _flatten(row: JoinedRow, unjudged: str) -> Iterator[dict[str, Any]]:
    """One line per repeat of the setting and of the judge; what the sample cost in all stands in the first.

    Where several replies make one score, as those of a jury, they stand beside each other in `replies`.

    Args:
        row: the sample.
        unjudged: the status where there is no score.
    """
    cost_usd = row.cost_usd
    for number, one in enumerate(row.by_answer, start=1):
        for repeat, (said, score) in enumerate(one.replies_by_score, start=1):
            status = str(score.status) if score else unjudged
            reply = said[0] if len(said) == 1 and not row.is_jury else None
            flat = _flatten_score(row, one.answer, reply, score, status)
            if said and reply is None:
                texts = [each.text if each else None for each in said]
                flat["replies"] = json.dumps(texts, ensure_ascii=False)
            flat["baseline_answer"] = one.compared.text if one.compared else None
            yield flat | {"answer_repeat": number, "repeat": repeat, "cost_usd": cost_usd}
            cost_usd = None


def _flatten_score(
    row: JoinedRow, answer: Completion | None, reply: Completion | None, score: Score | None, status: str
) -> dict[str, Any]:
    flat: dict[str, Any] = {
        "sample_id": row.sample.sample_id,
        "metric": row.metric,
        "score": score.values.get(row.metric) if score else None,
        "score_status": status,
        "scores": _to_json(score.values) if score else None,
        "explanation": score.explanation if score else None,
        "details": _to_json(score.details) if score else None,
    }
    for prefix, completion in (("answer", answer), ("reply", reply)):
        if completion is not None:  # a column that is left out has nothing
            flat[prefix] = completion.text
            flat |= {name: getattr(completion, attribute) for name, attribute in _ATTRIBUTES[prefix]}
    return flat


def _to_json(values: Mapping[str, Any]) -> str | None:
    """The values as JSON; None where there are none."""
    return json.dumps(dict(values), ensure_ascii=False) if values else None

"""Export: the joined view of a run for polars, and EIBench's own JSONL."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eibench_ray.benchmarks.eibench.trigger_counts import TriggerCounts
from eibench_ray.errors import StoreError
from eibench_ray.runs.path_names import path_names
from eibench_ray.runs.results import GapMeter
from eibench_ray.runs.sample_columns import SampleColumns, find_columns
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
_KEYS = ("model", "setting", "dataset", "judge")

# As the folders have them, and as text: without them readers would make a date or a number of some names.
_NAMES = [pa.field(name, pa.string(), nullable=False) for name in (*_KEYS, "sample_id")]
# Between these stand the columns of the samples.
_FIGURES = pa.schema(
    [
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
        pa.field("answer_engine", pa.string()),
        pa.field("answer_request_digest", pa.string()),
        pa.field("repeat", pa.int16(), nullable=False),
        pa.field("reply", pa.string()),
        pa.field("reply_error_kind", pa.string()),
        pa.field("reply_error", pa.string()),
        pa.field("reply_attempt", pa.int16()),
        pa.field("reply_finish_reason", pa.string()),
        pa.field("reply_truncated", pa.bool_()),
        pa.field("reply_completion_tokens", pa.int32()),
        pa.field("reply_cost_usd", pa.float64()),
        pa.field("reply_mean_logprob", pa.float32()),
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
_OF_CELL = ("answer_source", "judge_source")
# Beside each reply: what it is as `Completion` says, by the column's name.
_FLAGS = {"answer_truncated": "is_truncated", "answer_empty": "is_empty", "reply_truncated": "is_truncated"}


def export_rows(manifest: RunManifest, store: Store, out: Path) -> dict[str, Any]:
    """Counts of what was written of a run.

    That is rows/model=/.../rows.parquet, triggers/dataset=/judge=/triggers.parquet where judges say which triggers are
    named, and eibench/<cell>.{answers,judgements}.jsonl.

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
    tallies: dict[tuple[str, str], tuple[Cell, TriggerCounts]] = {}
    folders = _Folders(plan.cells)
    stems = path_names(_names(cell) for cell in plan.cells)
    columns = _columns(plan, results)
    for cell in plan.cells:
        num_cell_rows = plan.datasets[cell.dataset].num_rows
        told = _Told()
        rows = told.watch(results.join(cell))
        if cell.scorer.options.get("verdict") == "triggers":
            rows = tallies.setdefault((cell.dataset, cell.judge), (cell, TriggerCounts()))[1].watch(rows)
        _write_parquet(_tables(plan, cell, rows, columns), _schema(columns), folders.of(out / "rows", cell, *_KEYS))
        ended.update(told.ended)
        num_rows += told.num_rows
        if told.gaps.is_partial:
            partial.append(cell.name)
        if cell.blocked and not any(row.answer for row in results.join(cell)):
            continue  # to the published scripts, a file without texts would be a model without answers
        is_complex = results.dataset(cell.dataset).has_repeated_pictures(num_cell_rows)
        _write_jsonl(cell, results.join(cell), out / "eibench" / stems[_names(cell)], is_complex=is_complex)
    for (dataset, judge), (cell, tally) in tallies.items():
        folder = folders.of(out / "triggers", cell, "dataset", "judge")
        tally.write(results.samples(dataset), folder / "triggers.parquet", dataset=dataset, judge=judge)
    num_blocked = sum(cell.blocked is not None for cell in plan.cells)
    return {
        "cells": len(plan.cells),
        "cells_blocked": num_blocked,
        "cells_partial": partial,
        "cells_echo": [cell.name for cell in plan.cells if "echo" in _sources(plan, cell)],
        "cells_replayed": [cell.name for cell in plan.cells if "replay" in _sources(plan, cell)],
        "rows": num_rows,
        **{name: ended[name] for name in _FLAGS},
    }


def _sources(plan: Plan, cell: Cell) -> tuple[Source, Source]:
    return plan.answer_source(cell), plan.judge_source(cell)


class _Told:
    """Counts of a cell beside its rows, made while they are written.

    Attributes:
        num_rows: rows that were written, one per repeat of the judge.
        ended: how many answers and replies ended in which way, by the name of the column that says so.
        gaps: whether it rests on all samples.
    """

    def __init__(self) -> None:
        self.num_rows = 0
        self.ended: Counter[str] = Counter()
        self.gaps = GapMeter()

    def watch(self, rows: Iterable[JoinedRow]) -> Iterator[JoinedRow]:
        """The rows as they are."""
        for row in rows:
            self.num_rows += len(row.scores)
            self.gaps.add(row)
            self.ended["answer_truncated"] += row.answer is not None and row.answer.is_truncated
            self.ended["answer_empty"] += row.answer is not None and row.answer.is_empty
            self.ended["reply_truncated"] += sum(reply is not None and reply.is_truncated for reply in row.replies)
            yield row


def _names(cell: Cell) -> tuple[str, ...]:
    return cell.model, cell.setting, cell.dataset, cell.judge


class _Folders:
    """The folders of Hive's layout, one for each name."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        columns = zip(*map(_names, cells), strict=True)
        self._names = {key: path_names((name,) for name in names) for key, names in zip(_KEYS, columns, strict=True)}

    def of(self, root: Path, cell: Cell, *keys: str) -> Path:
        """The folder of a cell below the root, by some of its names."""
        return root.joinpath(*(f"{key}={self._names[key][(getattr(cell, key),)]}" for key in keys))


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
    same = dict(zip(_KEYS, _names(cell), strict=True))
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
    """One line per repeat of the judge, one for a rule; what the sample cost in all stands in the first.

    Args:
        row: the sample.
        unjudged: the status where there is no score.
    """
    for repeat, (reply, score) in enumerate(zip_longest(row.replies, row.scores)):
        yield _flatten_score(row, repeat, reply, score, str(score.status) if score else unjudged)


def _flatten_score(
    row: JoinedRow, repeat: int, reply: Completion | None, score: Score | None, status: str
) -> dict[str, Any]:
    flat: dict[str, Any] = {
        "sample_id": row.sample.sample_id,
        "repeat": repeat + 1,
        "metric": row.metric,
        "score": score.values.get(row.metric) if score else None,
        "score_status": status,
        "scores": _to_json(score.values) if score else None,
        "explanation": score.explanation if score else None,
        "details": _to_json(score.details) if score else None,
        "cost_usd": None if repeat else row.cost_usd,
    }
    for prefix, completion in (("answer", row.answer), ("reply", reply)):
        flat[prefix] = completion.text if completion else None
        for name in _FIGURES.names:
            if name.startswith(f"{prefix}_") and name not in _OF_CELL:
                attribute = _FLAGS.get(name, name.removeprefix(f"{prefix}_"))
                flat[name] = getattr(completion, attribute) if completion else None
    return flat


def _to_json(values: Mapping[str, Any]) -> str | None:
    """The values as JSON; None where there are none."""
    return json.dumps(dict(values), ensure_ascii=False) if values else None


def _write_jsonl(cell: Cell, rows: Iterable[JoinedRow], stem: Path, *, is_complex: bool) -> None:
    """EIBench's own files: `{path: answer}` and `{path: reply}` per line, in the dataset's order.

    A judge's further repeats have files of their own: judgements.2.jsonl and so on; a rule has no replies.

    Its scripts for the complex subset pair lines with annotations by position: every row has its line there, an
    empty one where there is no text. For the basic subset they pair by path: rows without a text are left out.
    """
    repeats = ["judgements", *(f"judgements.{repeat + 1}" for repeat in range(1, len(cell.verdicts)))]
    with ExitStack() as stack:
        files = []
        for kind in ("answers", *repeats[: len(cell.verdicts)]):
            draft = stack.enter_context(replacing(stem.with_name(f"{stem.name}.{kind}.jsonl")))
            files.append(stack.enter_context(draft.open("w", encoding="utf-8")))
        for row in rows:
            path = row.sample.media[0].path if row.sample.media else row.sample.sample_id
            for completion, file in zip((row.answer, *row.replies), files, strict=True):
                text = completion.text if completion else None
                if is_complex or text is not None:
                    file.write(json.dumps({path: text or ""}, ensure_ascii=False) + "\n")

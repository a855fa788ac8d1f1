"""A cell's joined rows as columns: samples, answers, replies and scores beside each other, range by range."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from eibench_ray.plan.slices import Slice
from eibench_ray.report.cell_folders import KEYS, names_of
from eibench_ray.runs.range_scorer import RangeScorer
from eibench_ray.runs.sample_columns import SampleColumns
from eibench_ray.runs.score_reader import make_reader
from eibench_ray.runs.step_rows import StepRows
from eibench_ray.scoring.answer_repeats import by_answer
from eibench_ray.scoring.cell_columns import CellMeter

if TYPE_CHECKING:
    from eibench_ray.datasets.sample_table import SampleTable
    from eibench_ray.plan.graph import Cell, Plan
    from eibench_ray.runs.results import Results
    from eibench_ray.scoring.score_column import ScoreColumn

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
# Said of a reply and read from no column of its row.
_FLAGS = ("truncated", "empty")
# Columns of an answer and of a reply, and those of the store that they show.
_SHOWN = {
    prefix: {
        name: name.removeprefix(f"{prefix}_")
        for name in _FIGURES.names
        if name.startswith(f"{prefix}_")
        and name not in ("answer_repeat", "answer_source", *(f"{prefix}_{flag}" for flag in _FLAGS))
    }
    for prefix in ("answer", "reply")
}
# What the rows' columns hold beside those that scoring reads anyhow.
_MORE = sorted({*_SHOWN["answer"].values(), *_SHOWN["reply"].values()} - {"error_kind", "error", "cost_usd"})
_MOST_KNOWN = 4096
_encode = json.JSONEncoder(ensure_ascii=False).encode  # one for all: json.dumps makes a new one per call


def joined_schema(columns: SampleColumns) -> pa.Schema:
    """The columns of joined rows with those of the samples among them."""
    return pa.schema([*_NAMES, *columns.fields, *_FIGURES])


class CellTables:
    """Makes the tables of a cell, and counts what is in them.

    Attributes:
        num_rows: of the tables so far: one per sample, repeat of the setting and repeat of the judge.
        num_truncated, num_empty: answers that a limit of tokens cut off, and those without a word.
        num_replies_truncated: replies of the judge that were cut off.
    """

    def __init__(self, plan: Plan, results: Results, cell: Cell, columns: SampleColumns) -> None:
        self._plan = plan
        self._results = results
        self._dataset = results.dataset(cell.dataset)
        self._cell = cell
        self._columns = columns
        reader = make_reader(cell)
        self._metric = reader.metrics[0].name
        self._scorer = RangeScorer(cell, reader, {})
        self._scores = CellMeter(reader.metrics, len(cell.answers))
        self._known_json: dict[str, str] = {}  # by what Python writes of the values
        self.num_rows = self.num_truncated = self.num_empty = self.num_replies_truncated = 0

    @property
    def is_partial(self) -> bool:
        """Whether a sample of the tables so far was not asked, or too few have a score."""
        return self._scores.read().is_partial

    def read(self) -> Iterator[pa.Table]:
        """Yields the joined rows in the dataset's order, a range of samples at once."""
        cell = self._cell
        for part in self._results.parts(cell, in_columns=True):
            if len(samples := self._dataset.table(part)):
                yield self._join(part, samples)

    def _join(self, part: Slice, table: SampleTable) -> pa.Table:
        cell, size = self._cell, len(table)
        rows = self._results.read_steps(cell, part, _MORE)
        columns = self._scorer.read(table, rows)
        self._scores.add_columns(columns)
        same = self._columns.arrays(table) | {"sample_id": table.ids}
        constant = dict(zip(KEYS, names_of(cell), strict=True)) | {"metric": self._metric}
        constant |= {"answer_source": self._plan.answer_source(cell), "judge_source": self._plan.judge_source(cell)}
        same |= {name: pa.repeat(pa.scalar(value, pa.string()), size) for name, value in constant.items()}
        said = {step: _show(rows[step], "answer") for step in cell.answers}
        heard = {step: _show(rows[step], "reply") for step in cell.verdicts}
        self.num_truncated += sum(_count(said[step]["answer_truncated"]) for step in cell.answers)
        self.num_empty += sum(_count(said[step]["answer_empty"]) for step in cell.answers)
        self.num_replies_truncated += sum(_count(heard[step]["reply_truncated"]) for step in cell.verdicts)
        schema = joined_schema(self._columns)
        lines: list[pa.Table] = []
        judged = zip(by_answer(columns, len(cell.answers)), by_answer(cell.verdicts, len(cell.answers)), strict=True)
        baselines = cell.baseline.answers if cell.baseline else (None,) * len(cell.answers)
        costs: pa.Array | None = _sum_costs(rows, cell)
        for number, (answer, (of_answer, verdicts)) in enumerate(zip(cell.answers, judged, strict=True), start=1):
            line = same | said[answer] | {"answer_repeat": pa.repeat(pa.scalar(number, pa.int16()), size)}
            if baseline := baselines[number - 1]:
                line["baseline_answer"] = rows[baseline].column("text")
            replies = by_answer(verdicts, len(of_answer))
            for repeat, (column, steps) in enumerate(zip(of_answer, replies, strict=True), start=1):
                made = line | self._show_scores(column) | {"repeat": pa.repeat(pa.scalar(repeat, pa.int16()), size)}
                if is_single := len(steps) == 1 and not cell.jurors:
                    made |= heard[steps[0]]
                if steps:
                    made["replies"] = _list_replies([rows[step] for step in steps], is_single=is_single)
                made["cost_usd"] = None if lines else costs
                lines.append(_to_table(made, schema, size))
        self.num_rows += len(lines) * size
        if len(lines) == 1:
            return lines[0]
        # Line by line of each sample, not sample by sample of each line.
        order = np.arange(len(lines) * size).reshape(len(lines), size).T.ravel()
        return pa.concat_tables(lines).take(pa.array(order))

    def _show_scores(self, column: ScoreColumn) -> dict[str, pa.Array]:
        """The columns of one score of each sample."""
        scores, codes = column.known, pa.array(column.codes)
        unjudged = "blocked" if self._cell.blocked else "missing"
        values = [score.values.get(self._metric) if score else None for score in scores]
        texts = {
            "score_status": [str(score.status) if score else unjudged for score in scores],
            "scores": [self._to_json(score.values) if score else None for score in scores],
            "details": [self._to_json(score.details) if score else None for score in scores],
        }
        return {
            "score": pa.array(values, pa.float64()).take(codes),
            **{name: pa.array(known, pa.string()).take(codes) for name, known in texts.items()},
            "explanation": pa.array(column.explanations, pa.string()),
        }

    def _to_json(self, values: Mapping[str, Any]) -> str | None:
        """The values as JSON; None where there are none. Most are among those that came before."""
        if not values:
            return None
        said = repr(values)
        if (known := self._known_json.get(said)) is None:
            if len(self._known_json) >= _MOST_KNOWN:
                self._known_json.clear()
            known = self._known_json[said] = _encode(dict(values))
        return known


def _show(rows: StepRows, prefix: str) -> dict[str, Any]:
    """The columns of answers, or of replies; None where no row has something."""
    shown: dict[str, Any] = {name: rows.column(column) for name, column in _SHOWN[prefix].items()}
    shown[prefix] = rows.column("text")
    flags = {flag: np.zeros(len(rows.is_current), np.bool_) for flag in _FLAGS}
    for place in rows.unusual:
        row = rows.result(place)
        assert row is not None
        flags["truncated"][place], flags["empty"][place] = row.is_truncated, row.is_empty
    for flag, is_so in flags.items():
        if (name := f"{prefix}_{flag}") in _FIGURES.names:
            shown[name] = pa.array(is_so, mask=~rows.is_current)
    return shown


def _count(flags: pa.Array) -> int:
    return int(flags.true_count)


def _list_replies(replies: Sequence[StepRows], *, is_single: bool) -> pa.Array | None:
    """The texts of the replies that make a score together, as JSON; of a single one where it is not there."""
    if not is_single:
        return pa.array([_encode(list(texts)) for texts in zip(*(one.texts for one in replies), strict=True)])
    (one,) = replies
    if one.are_all_current:
        return None
    return pa.array([None if is_there else "[null]" for is_there in one.is_current.tolist()], pa.string())


def _sum_costs(rows: Mapping[str, StepRows], cell: Cell) -> pa.Array | None:
    """The cost of all rows of each sample that the cell rests on; None where none has a price."""
    priced = [costs for step in cell.steps if (costs := rows[step].costs) is not None]
    if not priced:
        return None
    total = np.zeros(len(priced[0]))
    for costs in priced:
        total += np.nan_to_num(costs)
    return pa.array(total, mask=np.isnan(priced).all(axis=0))


def _to_table(columns: Mapping[str, Any], schema: pa.Schema, size: int) -> pa.Table:
    """A table of columns; one that is left out, or None, has nothing."""
    arrays = [pa.nulls(size, field.type) if (column := columns.get(field.name)) is None else column for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)

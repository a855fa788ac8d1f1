"""Counts of a cell's rows beside their scores: errors, how replies ended, cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress

import numpy as np

from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.rows.completion import RowResult
from eibench_ray.runs.failed_cells import THE_JUDGE, RowErrors
from eibench_ray.runs.step_rows import StepRows
from eibench_ray.scoring.score_column import ScoreColumn
from eibench_ray.scoring.scorer import ScoreStatus


@dataclass(slots=True)
class CellCounts:
    """Counts of one cell, as they are kept beside its scores.

    Attributes:
        replies: of each verdict, answer by answer.
        num_unscored: answers, or replies, on which the scorer failed; `unscored` says of which sample the first one
            was, and why.
        cost_usd: of all rows that the cell rests on; None where none has a price.
    """

    answers: RowErrors
    replies: list[RowErrors]
    num_refused: int = 0
    num_empty: int = 0
    num_cut_while_thinking: int = 0
    num_calls_truncated: int = 0
    num_fallbacks: int = 0
    num_texts: int = 0
    num_words: int = 0
    num_unscored: int = 0
    unscored: tuple[str, str] | None = None
    cost_usd: float | None = None
    logprob: float = 0.0
    num_logprobs: int = 0

    @property
    def mean_words(self) -> float | None:
        """Words per answer that is a text; None where none is."""
        return self.num_words / self.num_texts if self.num_texts else None

    @property
    def mean_logprob(self) -> float | None:
        """Mean log probability over the answers whose own mean is known; None where none is."""
        return self.logprob / self.num_logprobs if self.num_logprobs else None

    @property
    def num_errors(self) -> int:
        """Answers and replies of the judge that are errors."""
        return sum(column.num_errors for column in (self.answers, *self.replies))

    @property
    def scorer_error(self) -> str | None:
        """The answers, or replies, on which the scorer failed, and why; None where there is none."""
        if self.unscored is None:
            return None
        one, several = ("reply", "replies") if self.replies else ("answer", "answers")
        count = f"1 {one}," if self.num_unscored == 1 else f"{self.num_unscored:,} {several}, the first"
        return f"its scorer failed on {count} of sample {self.unscored[0]!r} (scorer_error): {self.unscored[1]}"

    @property
    def reply_endings(self) -> dict[str, int]:
        """Replies by their endings, over all repeats."""
        return dict(sum((repeat.endings for repeat in self.replies), Counter()))


@dataclass(slots=True)
class CountMeter:
    """Counts a cell's rows, a range of samples after the other."""

    plan: Plan
    cell: Cell
    counts: CellCounts = field(init=False)
    _calls: list[str] = field(init=False)
    _sources: list[frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        plan, cell = self.plan, self.cell
        compared = cell.baseline.answers if cell.baseline else ()
        judging = plan.steps_behind(compared) - plan.steps_behind(cell.answers) | {*cell.verdicts}
        self._calls = [step for step in cell.steps if step not in judging | {*cell.answers}]
        self._sources = [plan.sources_of(answer) for answer in cell.answers]
        judges = [f"judge {name}" if cell.jurors else THE_JUDGE for name, _ in cell.seats]
        self.counts = CellCounts(RowErrors(), [RowErrors(judge) for _ in cell.answers for judge in judges])

    def add(self, rows: Mapping[str, StepRows], columns: Sequence[ScoreColumn]) -> None:
        """Counts the rows of a range, by step, and the scores of its samples, answer by answer."""
        counts, answers = self.counts, [rows[step] for step in self.cell.answers]
        self._add_answers(rows, answers)
        for column, step in zip(counts.replies, self.cell.verdicts, strict=True):
            _add_rows(column, rows[step])
            counts.num_fallbacks += sum(_result(rows[step], place).is_fallback for place in rows[step].unusual)
        for step in self._calls:
            counts.num_calls_truncated += sum(_result(rows[step], place).is_truncated for place in rows[step].unusual)
        self._add_numbers(rows, answers)
        failed = sorted(
            (place, number, score)
            for number, column in enumerate(columns)
            for place, score in column.find(ScoreStatus.SCORER_ERROR)
        )
        counts.num_unscored += len(failed)
        if failed and counts.unscored is None:  # of the first sample, whichever column has it
            first = failed[0][-1]
            counts.unscored = first.sample_id, str(first.explanation)

    def _add_answers(self, rows: Mapping[str, StepRows], answers: Sequence[StepRows]) -> None:
        counts = self.counts
        for answer in answers:
            _add_whole(counts.answers, answer)
            counts.num_texts += int((answer.words >= 0).sum())
            counts.num_words += int(answer.words.clip(0).sum())
        # Sample by sample, as equally frequent reasons are told by which came first.
        unusual = sorted((place, number) for number, answer in enumerate(answers) for place in answer.unusual)
        for place, number in unusual:
            row = _result(answers[number], place)
            behind = (step for step in self.cell.steps if step in self._sources[number])
            made = {step: found for step in behind if (found := rows[step].result(place)) is not None}
            counts.answers.add(row, made)
            counts.num_refused += row.is_refused
            counts.num_empty += row.is_empty
            counts.num_cut_while_thinking += row.is_cut_while_thinking

    def _add_numbers(self, rows: Mapping[str, StepRows], answers: Sequence[StepRows]) -> None:
        counts = self.counts
        priced = [found for step in self.cell.steps if (found := rows[step].costs) is not None]
        if priced:
            of_sample = np.zeros(len(priced[0]))
            for column in priced:
                of_sample += np.nan_to_num(column)
            has_price = ~np.isnan(priced).all(axis=0)
            for cost in of_sample[has_price].tolist():  # one after the other: equal for ranges of any length
                counts.cost_usd = (counts.cost_usd or 0.0) + cost
        known = [found for answer in answers if (found := answer.logprobs) is not None]
        for logprob in np.transpose(known).ravel().tolist() if known else ():
            if logprob == logprob:
                counts.logprob += logprob
                counts.num_logprobs += 1


def _add_rows(column: RowErrors, rows: StepRows) -> None:
    _add_whole(column, rows)
    for place in rows.unusual:
        column.add(_result(rows, place))


def _add_whole(column: RowErrors, rows: StepRows) -> None:
    """Counts the whole texts among some rows, and notes the first text as an example."""
    column.add_whole(int(rows.is_current.sum()) - len(rows.unusual))
    if column.example is None:
        column.example = next(filter(None, compress(rows.texts, rows.are_answers)), None)


def _result(rows: StepRows, place: int) -> RowResult:
    row = rows.result(place)
    assert row is not None
    return row

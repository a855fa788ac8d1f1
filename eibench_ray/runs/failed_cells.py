"""Cells that have no figure although everything in them was asked: why, in one line.

A run that ends with such a cell has failed, whatever its engines did: a template that refuses a system role, a judge
whose key is refused, a judge whose replies are never a verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.step_names import name_steps
from eibench_ray.rows.completion import WHOLE, RowErrorKind, RowResult
from eibench_ray.scoring.cell_columns import MISSING
from eibench_ray.scoring.cell_score import CellScore
from eibench_ray.scoring.scorer import ScoreStatus
from eibench_ray.visible_text import in_line, list_some

_MOST_REASONS = 100  # that are told apart: an error's text may name the row
_MOST_CHARACTERS = 300
_MOST_NAMES = 3  # of cells that failed of one reason
_FAILED_OF = " failed: "
THE_JUDGE = "the judge"


@dataclass(slots=True)
class RowErrors:
    """The errors of one column of rows, such as a cell's answers, counted while they are read.

    Attributes:
        reasons: how often each was the first cause: (step, kind and text of the error); the step is empty where it is
            the rows' own.
    """

    judge: str = THE_JUDGE  # whose replies they are, in words
    num_rows: int = 0
    num_errors: int = 0
    num_inherited: int = 0  # those of the errors that are of an answer which they read, and which is counted elsewhere
    num_truncated: int = 0  # rows that are texts, cut off by a limit of tokens
    num_cut_while_thinking: int = 0  # of those, rows without an answer, since thinking took all
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)  # of rows that were asked, by their endings
    example: str | None = None

    def add(self, row: RowResult, made: Mapping[str, RowResult] | None = None) -> None:
        """Counts a row; an absent one was not asked.

        Args:
            row: the row.
            made: all rows of the sample by step id, inputs before what reads them, to look for the first cause of an
                error; None: such errors are counted elsewhere.
        """
        if row.is_absent:
            return
        self.num_rows += 1
        self.endings[row.ending] += 1
        self.num_truncated += row.is_truncated
        self.num_cut_while_thinking += row.is_cut_while_thinking
        if row.error_kind is None:
            self.example = self.example or row.text
            return
        self.num_errors += 1
        cause = ("", row)
        if row.error_kind == RowErrorKind.UPSTREAM:
            if made is None:
                self.num_inherited += 1
                return
            errors = ((name, one) for name, one in made.items() if one.error_kind is not None)
            cause = next(((name, one) for name, one in errors if one.error_kind != RowErrorKind.UPSTREAM), cause)
        reason = (cause[0], f"{cause[1].error_kind}: {cause[1].error}")
        if reason in self.reasons or len(self.reasons) < _MOST_REASONS:
            self.reasons[reason] += 1

    def add_whole(self, number: int) -> None:
        """Counts some rows of which nothing is to be said."""
        self.num_rows += number
        if number:
            self.endings[WHOLE] += number

    @property
    def is_failed(self) -> bool:
        """Whether every row that was asked is an error of its own."""
        return 0 < self.num_rows == self.num_own

    @property
    def num_own(self) -> int:
        """Errors that are counted here alone."""
        return self.num_errors - self.num_inherited

    def most(self, plan: Plan) -> str:
        """The most frequent error in one line, with its step where that is another one."""
        [((step, text), count)] = self.reasons.most_common(1)
        times = "" if count == self.num_own else f" ({count:,} of them)"
        name = name_steps(plan)[step] if step else None
        return f"{f'{name.what} by {name.asked}: ' if name else ''}{_shorten(text)}{times}"


def explain_failure(
    plan: Plan,
    statuses: Mapping[str, str],
    score: CellScore,
    answers: RowErrors,
    replies: Sequence[RowErrors],
    *,
    is_jury: bool = False,
    scorer_error: str | None = None,
) -> str | None:
    """The reason why a cell has no figure; None where it has one, or is not asked yet.

    Args:
        plan: the sweep.
        statuses: its scorer's own reasons for no score, in words.
        score: the cell's scores.
        answers: its answers.
        replies: its judge's, per repeat; none where a rule scores.
        is_jury: whether a quorum of the judges is enough.
        scorer_error: what its scorer failed on, and why; None: it read all.
    """
    if answers.is_failed:
        return f"all {answers.num_rows:,} answers are errors: {answers.most(plan)}"
    if MISSING in score.statuses:
        return None
    for repeat in replies:
        if repeat.is_failed and not (is_jury and score.overall.num_scored):
            return f"all {repeat.num_rows:,} replies of {repeat.judge} are errors: {repeat.most(plan)}"
    if score.overall.num_scored:
        return None
    return _explain_no_score(plan, statuses, score, answers, replies, scorer_error)


def explain_engines(plan: Plan, cell: Cell, failures: Mapping[str, str]) -> str | None:
    """The engines of a cell that were given up, with the reasons in one line; None where all went on.

    Args:
        plan: the sweep.
        cell: the cell.
        failures: model -> why its engine was given up.
    """
    names = (plan.engines[key].name for key in plan.engines_of(cell.steps))
    return "; ".join(f"{name}{_FAILED_OF}{_shorten(failures[name])}" for name in names if name in failures) or None


def describe_failed(reasons: Mapping[str, str], told: Iterable[str] = ()) -> Iterator[str]:
    """A line per reason: how many cells have failed of it, and which.

    Args:
        reasons: cell -> why it has failed.
        told: models whose failure is told above; their reasons are not repeated.
    """
    models = tuple(told)
    cells: dict[str, list[str]] = {}
    for cell, reason in reasons.items():
        model = next((name for name in models if reason.startswith(f"{name}{_FAILED_OF}")), None)
        cells.setdefault(f"{model} failed, see above" if model else reason, []).append(cell)
    for reason, names in cells.items():
        what = "1 cell" if len(names) == 1 else f"{len(names):,} cells"
        yield in_line(f"{what} failed ({list_some(names, _MOST_NAMES)}): {reason}")


def _explain_no_score(
    plan: Plan,
    statuses: Mapping[str, str],
    score: CellScore,
    answers: RowErrors,
    replies: Sequence[RowErrors],
    scorer_error: str | None,
) -> str | None:
    """The reason why no answer has a score; None where none could have: no target, or not what is measured."""
    parts = [f"{answers.num_errors:,} answers are errors ({answers.most(plan)})"] if answers.num_errors else []
    for repeat in replies:
        if repeat.num_own:
            parts.append(f"{repeat.num_own:,} replies of {repeat.judge} are errors ({repeat.most(plan)})")
    parts += [scorer_error] if scorer_error else []
    read = "replies" if replies else "answers"
    reasons = {
        str(ScoreStatus.UNPARSED): "hold nothing that could be scored",
        str(ScoreStatus.NO_BASELINE): "lack an answer of the baseline to compare with",
        **statuses,
    }
    counts = ((score.statuses.get(status, 0), words) for status, words in reasons.items())
    parts += [f"{count:,} {read} {words}" for count, words in counts if count]
    if not parts:
        return None
    example = next((one.example for one in (replies or [answers]) if one.example is not None), None)
    if score.num_unparsed and example is not None:
        parts.append(f"the first {'reply' if replies else 'answer'} is {_shorten(example)!r}")
    if cut := sum(repeat.num_truncated for repeat in replies):
        parts.append(f"{cut:,} replies of the judge were cut off: raise judge.sampling.max_tokens")
    if thought := sum(repeat.num_cut_while_thinking for repeat in (answers, *replies)):
        parts.append(f"{thought:,} texts are all thinking: raise max_tokens, or engine.reasoning_tokens of their model")
    return f"no answer has a score: {'; '.join(parts)}"


def _shorten(text: str) -> str:
    """A text in one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."

"""The leaderboard for people: one row per cell, as a terminal table and as Markdown, by dataset, judge and recall.

The terminal table has a part per dataset and judge, and intervals below their means; what does not fit is left out and
named. The other is flat. Longer than most modules because both shapes stand here, which must say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from eibench_ray.endpoints.prices import format_usd
from eibench_ray.plan.graph import Source
from eibench_ray.plan.naming import ECHO, REPLAYED, mark_of, with_mark
from eibench_ray.report.coherence import describe_coherence, format_coherence
from eibench_ray.report.markdown import format_table
from eibench_ray.score.claims import MIN_COVERAGE
from eibench_ray.score.coherence import CellCoherence
from eibench_ray.score.recall import MISSING, CellScore, Recall
from eibench_ray.table import Column, FittingTable
from eibench_ray.visible import in_line

if TYPE_CHECKING:
    from rich.console import Group

_NO_VALUE = "-"
_TEXT_ONLY = "(text only)"
_SELF_JUDGED = "(self-judged)"
_SAME_FAMILY = "(same family)"
_BLOCKED = "(blocked)"
_FAILED = "(failed)"
PARTIAL = "(partial)"
_MOST_NAMES = 3  # of cells that failed of one reason


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """The scores of one cell, and what a reader must know to compare them.

    Attributes:
        sees_image: False marks a text-only model.
        self_judged: the judge is the model under test.
        same_family: the judge is another model of its family.
        errors: rows of this cell that ended as an error.
        refused: answers that the endpoint refused or filtered.
        truncated: answers that a limit of tokens cut off.
        empty: answers without a word.
        calls_truncated: answers to earlier calls of the setting that were cut off.
        judge_truncated: replies of the judge that were cut off, over all repeats.
        judge_fallbacks: those of its verdicts that its rule puts in the place of replies none of which it accepts.
        cost_usd: of all rows that the cell rests on; None where none has a price.
        coherence: of the answers; None where it was not measured.
        blocked: why the rest of the cell could not be asked; None where nothing was in its way.
        failed: why it has no figure, or will have none; None where it has, or is not asked yet.
        answer_source, judge_source: whose words the answers and the verdicts are.
    """

    model: str
    setting: str
    dataset: str
    judge: str
    sees_image: bool
    self_judged: bool
    score: CellScore
    errors: int
    refused: int = 0
    cost_usd: float | None = None
    coherence: CellCoherence | None = None
    same_family: bool = False
    blocked: str | None = None
    truncated: int = 0
    empty: int = 0
    calls_truncated: int = 0
    judge_truncated: int = 0
    judge_fallbacks: int = 0
    failed: str | None = None
    answer_source: Source = "model"
    judge_source: Source = "model"

    @property
    def is_partial(self) -> bool:
        """Whether its figure rests on a part of the samples only: it is no match for one that rests on all."""
        has_figure = self.score.overall.num_scored > 0
        return MISSING in self.score.statuses or (has_figure and self.score.overall.coverage < MIN_COVERAGE)

    @property
    def is_comparable(self) -> bool:
        """Whether its figure may stand out: it rests on all samples, and on words that somebody said."""
        return not self.is_partial and "echo" not in (self.answer_source, self.judge_source)

    @property
    def marks(self) -> list[str]:
        """What stands beside the model's name."""
        marks = {
            _TEXT_ONLY: not self.sees_image,
            mark_of(self.model, self.answer_source): self.answer_source != "model",
            _BLOCKED: self.blocked is not None,
            _FAILED: self.failed is not None,
            PARTIAL: self.is_partial and self.blocked is None,
        }
        return [mark for mark, is_there in marks.items() if mark and is_there]

    @property
    def judge_and_mark(self) -> str:
        """The judge's name, and beside it what took its place."""
        return with_mark(self.judge, self.judge_source)

    @property
    def kinship(self) -> str:
        """How near the judge is to the model under test, in words; empty where they are strangers."""
        return _SELF_JUDGED if self.self_judged else _SAME_FAMILY if self.same_family else ""

    @property
    def cell(self) -> str:
        """The cell's name: model/setting/dataset/judge."""
        return f"{self.model}/{self.setting}/{self.dataset}/{self.judge}"

    @property
    def is_empty(self) -> bool:
        """Whether it was blocked before it had any verdict: it has a reason, but no figure."""
        return self.blocked is not None and self.score.overall.num_scored == 0


def sort_rows(rows: Iterable[LeaderboardRow]) -> list[LeaderboardRow]:
    """By dataset, judge and falling recall; partial rows after whole ones."""

    def key(row: LeaderboardRow) -> tuple[str, str, bool, float, str, str]:
        recall = row.score.overall.recall
        order = float("inf") if recall is None else -recall
        return row.dataset, row.judge, row.is_partial or recall is None, order, row.model, row.setting

    return sorted(rows, key=key)


def emotions_of(rows: Iterable[LeaderboardRow]) -> list[str]:
    """The emotions of all rows, in alphabetical order."""
    return sorted({emotion for row in rows for emotion in row.score.by_emotion})


def render_table(rows: Iterable[LeaderboardRow]) -> Group:
    """The leaderboard for a terminal: a part per dataset and judge, the notes below.

    Cells that were blocked before they had a verdict are left out.
    """
    from rich.console import Group
    from rich.text import Text

    ordered = [row for row in sort_rows(rows) if not row.is_empty]
    parts: list[Text | FittingTable] = []
    for (dataset, judge), group in groupby(ordered, key=lambda row: (row.dataset, row.judge_and_mark)):
        parts += [
            Text.assemble((in_line(dataset), "bold"), " judged by ", (in_line(judge), "bold")),
            _render_part(list(group)),
            Text(),
        ]
    return Group(*parts, *(Text(note, style="dim") for note in _notes(ordered)))


def render_markdown(rows: Iterable[LeaderboardRow]) -> str:
    """The leaderboard as one GitHub Markdown table with its notes, and one of the blocked cells; ends in a newline."""
    everything = sort_rows(rows)
    ordered = [row for row in everything if not row.is_empty]
    emotions = emotions_of(ordered)
    names = ["model", "setting", "dataset", "judge"]
    figures = ["recall %", f"{_level(ordered)} interval", "coverage %", "bounds %", *(f"{name} %" for name in emotions)]
    noises, bills = _noises(ordered), _bills(ordered) | _coherence(ordered, " ")
    endings = _endings(ordered, is_file=True)
    lines = [[*names, *figures, "n", "parse failures", "errors", *endings, *noises, *bills]]
    for row in ordered:
        score = row.score
        lines.append(
            [
                " ".join([row.model, *row.marks]),
                row.setting,
                row.dataset,
                f"{row.judge_and_mark} {row.kinship}".rstrip(),
                _percent(score.overall.recall),
                _interval(score.overall),
                _coverage(score.overall),
                _bounds(score.overall) or _NO_VALUE,
                *(_percent(score.by_emotion[name].recall) if name in score.by_emotion else "" for name in emotions),
                str(score.overall.n),
                str(score.num_unreadable),
                str(row.errors),
                *(count(row) for count in endings.values()),
                *(noise(row) for noise in noises.values()),
                *(bill(row) for bill in bills.values()),
            ]
        )
    table = [*format_table(lines, num_names=len(names)), ""] if ordered else []
    notes = [f"- {note}" for note in _notes(ordered)]
    return "\n".join(["# Leaderboard", "", *table, *notes, "", *_tabulate_reasons(everything)])


def _tabulate_reasons(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    """The cells that are blocked and those that have failed, with their reasons; nothing where there is none."""
    names = ["model", "setting", "dataset", "judge", "why"]
    for heading, reason_of in (("Blocked", attrgetter("blocked")), ("Failed", attrgetter("failed"))):
        reasons = [(row, reason_of(row)) for row in rows]
        lines = [[row.model, row.setting, row.dataset, row.judge, reason] for row, reason in reasons if reason]
        if lines:
            yield from (f"## {heading}", "", *format_table([names, *lines], num_names=len(names)), "")


def _render_part(rows: Sequence[LeaderboardRow]) -> FittingTable:
    """The rows of one dataset and judge, in percent, two lines each: means above, their intervals below."""
    from rich.text import Text

    def pair(above: str, below: str, style: str = "") -> Text:
        return Text.assemble((above, style), "\n", (below, "dim"))

    def counted(number: int, style: str) -> Text:
        return Text(str(number), style=style if number else "")

    names = [
        Text.assemble(
            in_line(row.model),
            ("".join(f" {mark}" for mark in row.marks), "yellow"),
            (f"\n  {in_line(row.setting)}", "dim"),
            (f"\n  {row.kinship}" if row.kinship else "", "yellow"),
        )
        for row in rows
    ]
    totals = [row.score.overall for row in rows]
    recalls = [
        # Bold is for figures that can be compared.
        pair(_percent(total.recall), _interval(total), "bold" if row.is_comparable else "")
        for row, total in zip(rows, totals, strict=True)
    ]
    coverages = [pair(_coverage(total), _bounds(total), "yellow" if total.coverage < 1 else "") for total in totals]
    columns = [
        Column(pair("model", "  setting", "bold"), names, is_name=True),
        Column(pair("recall %", f"{_level(rows)} CI", "bold"), recalls),
        Column(pair("coverage", "bounds", "bold"), coverages),
        Column("n", [str(total.n) for total in totals]),
        Column("parse\nfails", [counted(row.score.num_unreadable, "yellow") for row in rows]),
        Column("errors", [counted(row.errors, "red") for row in rows]),
    ]
    for heading, count in _endings(rows, is_file=False).items():
        cells = [Text(count(row), style="yellow") for row in rows]
        columns.append(Column(heading.replace(" ", "\n", 1), cells, rank=int(" " in heading)))
    for heading, figure in _noises(rows).items():
        columns.append(Column(heading.replace(" ", "\n", 1), [figure(row) for row in rows], rank=1))
    for heading, figure in _bills(rows).items():
        columns.append(Column(heading, [figure(row) for row in rows], rank=1))
    for heading, figure in _coherence(rows, "\n").items():
        columns.append(Column(heading, [figure(row) for row in rows], rank=1))
    for emotion in emotions_of(rows):
        groups = [row.score.by_emotion.get(emotion) for row in rows]
        shares = [pair(_percent(group.recall), _interval(group, digits=0)) if group else "" for group in groups]
        columns.append(Column(in_line(emotion), shares, rank=2))
    return FittingTable(columns, elsewhere="leaderboard.md and .csv, --json and a wider terminal have them")


def _endings(rows: Sequence[LeaderboardRow], *, is_file: bool) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns of how answers and replies ended, by their headings; in a file the first two are always there."""
    found: dict[str, Callable[[LeaderboardRow], int]] = {
        "truncated": attrgetter("truncated"),
        "empty": attrgetter("empty"),
        "judge truncated": attrgetter("judge_truncated"),
        "judge fallbacks": attrgetter("judge_fallbacks"),
        "calls truncated": attrgetter("calls_truncated"),
    }
    always = ("truncated", "empty", "judge truncated") if is_file else ()
    kept = {name: count for name, count in found.items() if name in always or any(map(count, rows))}
    return {name: partial(_count, count) for name, count in kept.items()}


def _count(count: Callable[[LeaderboardRow], int], row: LeaderboardRow) -> str:
    return str(count(row))


def _noises(rows: Sequence[LeaderboardRow]) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns that only repeats of a judge fill, by their headings; none where there were none."""
    if all(row.score.noise is None for row in rows):
        return {}
    return {
        "repeat sd": lambda row: _percent(row.score.noise.sd, 2) if row.score.noise else _NO_VALUE,
        "differ %": lambda row: _percent(row.score.noise.differ) if row.score.noise else _NO_VALUE,
    }


def _bills(rows: Sequence[LeaderboardRow]) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns that only endpoints fill, by their headings; none where there was none."""
    bills: dict[str, Callable[[LeaderboardRow], str]] = {}
    if any(row.refused for row in rows):
        bills["refused"] = lambda row: str(row.refused)
    if any(row.cost_usd is not None for row in rows):
        bills["cost $"] = lambda row: _NO_VALUE if row.cost_usd is None else format_usd(row.cost_usd)
    return bills


def _coherence(rows: Sequence[LeaderboardRow], gap: str) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns of the answers' coherence, the interval after the gap; none where it was not measured."""
    if not any(row.coherence for row in rows):
        return {}
    return {
        f"coherence{gap}{_level(rows)} CI": lambda row: format_coherence(row.coherence, gap),
        "measured": lambda row: str(row.coherence.num_measured) if row.coherence else _NO_VALUE,
    }


def _notes(rows: Sequence[LeaderboardRow]) -> list[str]:
    """What a reader of these rows must know."""
    if not rows:
        return ["no cell has been scored yet"]
    notes = [f"recall: mean over the samples with a verdict; {_level(rows)} bootstrap interval, clustered by image"]
    if any(row.score.overall.is_open for row in rows):
        notes.append("coverage: share of the samples with a verdict; bounds: were every missing verdict 0, or 1")
        if any(row.score.noise for row in rows):
            notes[-1] += "; single repeats that are missing lower no coverage, but open the bounds"
    if noises := [row.score.noise for row in rows if row.score.noise]:
        times = "/".join(str(number) for number in sorted({noise.repeats for noise in noises}))
        notes.append(
            f"repeats: the judge was asked {times} times; recall: mean over the repeats; repeat sd: standard deviation "
            f"of the mean recall between repeats, in points; differ: share of the samples whose verdicts do"
        )
    if any(row.truncated or row.empty for row in rows):
        notes.append(
            "truncated: answers cut off at their limit of tokens (sampling.max_tokens); empty: answers without a word; "
            "both are judged as they are"
        )
    if any(row.judge_truncated for row in rows):
        notes.append("judge truncated: replies of the judge cut off at their limit (judge.sampling.max_tokens)")
    if any(row.judge_fallbacks for row in rows):
        notes.append("judge fallbacks: verdicts that stand in for replies none of which could be used")
    if any(row.calls_truncated for row in rows):
        notes.append("calls truncated: answers to earlier calls of the setting that were cut off at their limit")
    if any(row.is_partial for row in rows):
        notes.append(
            f"{PARTIAL}: not all samples are asked yet, or fewer than {MIN_COVERAGE:.0%} have a verdict; such rows "
            f"stand after the others"
        )
    if any("echo" in (row.answer_source, row.judge_source) for row in rows):
        notes.append(f"echo, or {ECHO}: words that no model said, to try a sweep out; the figures mean nothing")
    if any("replay" in (row.answer_source, row.judge_source) for row in rows):
        notes.append(f"{REPLAYED}: recorded answers, which no model was asked for here")
    if any(row.failed for row in rows):
        notes.append(f"{_FAILED}: it has no figure, or lacks one that was asked for; the reason is below")
    if not all(row.sees_image for row in rows):
        notes.append(f"{_TEXT_ONLY}: does not see the picture")
    if any(row.blocked for row in rows):
        notes.append(f"{_BLOCKED}: what is missing cannot be asked here")
    if any(row.self_judged for row in rows):
        notes.append(f"{_SELF_JUDGED}: the model judges its own answers")
    if any(row.kinship == _SAME_FAMILY for row in rows):
        notes.append(f"{_SAME_FAMILY}: the judge is another model of its family; `compare` shows what it favours")
    if any(row.refused for row in rows):
        notes.append("refused: answers that the endpoint refused or filtered; they are judged as they are")
    if any(row.cost_usd is not None for row in rows):
        notes.append("cost: of all requests that a cell rests on; those that cells share count in each of them")
    if measures := sorted({row.coherence.measure for row in rows if row.coherence}):
        notes.append(describe_coherence(measures))
    return notes


def _level(rows: Iterable[LeaderboardRow]) -> str:
    """The confidence of the rows' intervals, e.g. "95%"; several are named side by side."""
    return "/".join(f"{100 * level:g}%" for level in sorted({row.score.confidence for row in rows}))


def _percent(share: float | None, digits: int = 1) -> str:
    return _NO_VALUE if share is None else f"{100 * share:.{digits}f}"


def _interval(recall: Recall, digits: int = 1) -> str:
    return _range(recall.ci_low, recall.ci_high, digits) if recall.recall is not None else _NO_VALUE


def _range(low: float | None, high: float | None, digits: int = 1) -> str:
    return f"{_percent(low, digits)}-{_percent(high, digits)}"


def _coverage(recall: Recall) -> str:
    """In percent, rounded down: only a full coverage reads 100."""
    return f"{recall.num_scored * 1000 // recall.n / 10:.1f}"


def _bounds(recall: Recall) -> str:
    return _range(recall.bound_low, recall.bound_high) if recall.is_open else ""


def describe_failed(rows: Iterable[LeaderboardRow]) -> Iterator[str]:
    """A line per reason: how many cells have failed of it, and which."""
    cells: dict[str, list[str]] = {}
    for row in rows:
        if row.failed:
            cells.setdefault(row.failed, []).append(row.cell)
    for reason, names in cells.items():
        more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
        what = "1 cell" if len(names) == 1 else f"{len(names):,} cells"
        yield in_line(f"{what} failed ({', '.join(names[:_MOST_NAMES])}{more}): {reason}")

"""The leaderboard for people: one row per cell, as a terminal table and as Markdown, by dataset, judge and recall.

The terminal table has a part per dataset and judge, and intervals below their means, so that it fits 100 columns; the
other is flat. Longer than most modules because both shapes stand here, which must say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from eibench_ray.endpoints.prices import format_usd
from eibench_ray.report.coherence import describe_coherence, format_coherence
from eibench_ray.report.markdown import format_table
from eibench_ray.score.coherence import CellCoherence
from eibench_ray.score.recall import CellScore, Recall
from eibench_ray.visible import in_line

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_NO_VALUE = "-"
_TEXT_ONLY = "(text only)"
_SELF_JUDGED = "(self-judged)"
_SAME_FAMILY = "(same family)"
_BLOCKED = "(blocked)"


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """The scores of one cell, and what a reader must know to compare them.

    Attributes:
        sees_image: False marks a text-only model.
        self_judged: the judge is the model under test.
        same_family: the judge is another model of its family.
        errors: rows of this cell that ended as an error.
        refused: answers that the endpoint refused or filtered.
        cost_usd: of all rows that the cell rests on; None where none has a price.
        coherence: of the answers; None where it was not measured.
        blocked: why the rest of the cell could not be asked; None where nothing was in its way.
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
    """By dataset, judge and falling recall."""

    def key(row: LeaderboardRow) -> tuple[str, str, float, str, str]:
        recall = row.score.overall.recall
        return row.dataset, row.judge, float("inf") if recall is None else -recall, row.model, row.setting

    return sorted(rows, key=key)


def emotions_of(rows: Iterable[LeaderboardRow]) -> list[str]:
    """The emotions of all rows, in alphabetical order."""
    return sorted({emotion for row in rows for emotion in row.score.by_emotion})


def render_table(rows: Iterable[LeaderboardRow]) -> Table:
    """The leaderboard for a terminal of 100 columns or more: a part per dataset and judge, the notes below.

    Cells that were blocked before they had a verdict are left out.
    """
    from rich.table import Table
    from rich.text import Text

    ordered = [row for row in sort_rows(rows) if not row.is_empty]
    page = Table.grid()
    for (dataset, judge), group in groupby(ordered, key=lambda row: (row.dataset, row.judge)):
        page.add_row(Text.assemble((in_line(dataset), "bold"), " judged by ", (in_line(judge), "bold")))
        page.add_row(_render_part(list(group)))
    for note in _notes(ordered):
        page.add_row(Text(note, style="dim"))
    return page


def render_markdown(rows: Iterable[LeaderboardRow]) -> str:
    """The leaderboard as one GitHub Markdown table with its notes, and one of the blocked cells; ends in a newline."""
    everything = sort_rows(rows)
    ordered = [row for row in everything if not row.is_empty]
    emotions = emotions_of(ordered)
    names = ["model", "setting", "dataset", "judge"]
    figures = ["recall %", f"{_level(ordered)} interval", "coverage %", "bounds %", *(f"{name} %" for name in emotions)]
    noises, bills = _noises(ordered), _bills(ordered) | _coherence(ordered, " ")
    lines = [[*names, *figures, "n", "parse failures", "errors", *noises, *bills]]
    for row in ordered:
        score = row.score
        lines.append(
            [
                " ".join([row.model, *_marks(row)]),
                row.setting,
                row.dataset,
                f"{row.judge} {row.kinship}".rstrip(),
                _percent(score.overall.recall),
                _interval(score.overall),
                _coverage(score.overall),
                _bounds(score.overall) or _NO_VALUE,
                *(_percent(score.by_emotion[name].recall) if name in score.by_emotion else "" for name in emotions),
                str(score.overall.n),
                str(score.num_unreadable),
                str(row.errors),
                *(noise(row) for noise in noises.values()),
                *(bill(row) for bill in bills.values()),
            ]
        )
    table = [*format_table(lines, num_names=len(names)), ""] if ordered else []
    notes = [f"- {note}" for note in _notes(ordered)]
    return "\n".join(["# Leaderboard", "", *table, *notes, "", *_tabulate_blocked(everything)])


def _marks(row: LeaderboardRow) -> list[str]:
    """What stands beside a model's name."""
    return [*([] if row.sees_image else [_TEXT_ONLY]), *([_BLOCKED] if row.blocked else [])]


def _tabulate_blocked(rows: Sequence[LeaderboardRow]) -> list[str]:
    """The blocked cells with their reasons; nothing where there is none."""
    names = ["model", "setting", "dataset", "judge", "why"]
    lines = [[row.model, row.setting, row.dataset, row.judge, row.blocked] for row in rows if row.blocked]
    return ["## Blocked", "", *format_table([names, *lines], num_names=len(names)), ""] if lines else []


def _render_part(rows: Sequence[LeaderboardRow]) -> Table:
    """The rows of one dataset and judge, in percent, two lines each: means above, their intervals below."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def pair(above: str, below: str, style: str = "") -> Text:
        return Text.assemble((above, style), "\n", (below, "dim"))

    emotions = emotions_of(rows)
    part = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    part.add_column(pair("model", "  setting"), overflow="fold", no_wrap=True)
    totals = [pair("recall %", f"{_level(rows)} CI"), pair("coverage", "bounds")]
    noises, bills = _noises(rows), _bills(rows) | _coherence(rows, "\n")
    narrow = [Text(heading.replace(" ", "\n", 1)) for heading in noises]
    for heading in [*totals, Text("n"), Text("parse\nfails"), Text("errors"), *narrow, *map(Text, bills)]:
        part.add_column(heading, justify="right", overflow="fold", no_wrap=True)
    for emotion in emotions:  # last, and the only ones that fold: what a narrow terminal cuts off is the breakdown
        part.add_column(Text(in_line(emotion)), justify="right", overflow="fold", min_width=len("12-34"))
    for row in rows:
        score = row.score
        groups = [score.by_emotion.get(emotion) for emotion in emotions]
        part.add_row(
            Text.assemble(
                in_line(row.model),
                ("".join(f" {mark}" for mark in _marks(row)), "yellow"),
                (f"\n  {in_line(row.setting)}", "dim"),
                (f"\n  {row.kinship}" if row.kinship else "", "yellow"),
            ),
            pair(_percent(score.overall.recall), _interval(score.overall), "bold"),
            pair(_coverage(score.overall), _bounds(score.overall), "yellow" if score.overall.coverage < 1 else ""),
            Text(str(score.overall.n)),
            Text(str(score.num_unreadable), style="yellow" if score.num_unreadable else ""),
            Text(str(row.errors), style="red" if row.errors else ""),
            *(Text(noise(row)) for noise in noises.values()),
            *(Text(bill(row)) for bill in bills.values()),
            *(pair(_percent(group.recall), _interval(group, digits=0)) if group else Text() for group in groups),
        )
    return part


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

"""The leaderboard for people: one row per cell, as a terminal table and as Markdown, by dataset, judge and score.

The terminal table has a part per dataset and judge, and intervals below their means; what does not fit is left out and
named. Markdown has one table of all cells, and the groups below. Both shapes stand here, since they must say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from eibench_ray.report.leaderboard_figures import (
    agreement_of,
    bills_of,
    endings_of,
    further_of,
    groups_of,
    level_of,
    mean_of,
    noises_of,
    show_means,
)
from eibench_ray.report.leaderboard_notes import notes_of
from eibench_ray.report.leaderboard_row import LeaderboardRow, sort_rows
from eibench_ray.report.markdown_table import as_markdown, format_table
from eibench_ray.scoring.rounding import NO_VALUE, show_share
from eibench_ray.terminal.fitting_table import Column, FittingTable
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from rich.console import Group


def render_table(rows: Iterable[LeaderboardRow]) -> Group:
    """The leaderboard for a terminal: a part per dataset and judge, the notes below.

    Cells that were blocked before they had a score are left out.
    """
    from rich.console import Group
    from rich.text import Text

    ordered = [row for row in sort_rows(rows) if not row.is_empty]
    parts: list[Text | FittingTable] = []
    for part in _split(ordered):
        dataset, judge = in_line(part[0].dataset), in_line(part[0].judge_and_mark)
        parts += [Text.assemble((dataset, "bold"), " judged by ", (judge, "bold")), _render_part(part), Text()]
    return Group(*parts, *(Text(note, style="dim") for note in notes_of(ordered)))


def render_markdown(rows: Iterable[LeaderboardRow]) -> str:
    """The leaderboard as GitHub Markdown, ending in a newline.

    One table of all cells with its notes, one of the groups of each dataset and judge, and those of the blocked and of
    the failed cells.
    """
    everything = sort_rows(rows)
    ordered = [row for row in everything if not row.is_empty]
    parts = _split(ordered)
    table = [*_tabulate_cells(ordered, parts), ""] if ordered else []
    groups = [line for part in parts for line in _tabulate_groups(part)]
    notes = [f"- {note}" for note in notes_of(ordered)]
    return "\n".join(["# Leaderboard", "", *table, *notes, "", *groups, *_tabulate_reasons(everything)])


def _split(rows: Iterable[LeaderboardRow]) -> list[list[LeaderboardRow]]:
    """Sorted rows by dataset and judge. The figures of such a part have the same digits, in every shape."""
    return [list(part) for _, part in groupby(rows, key=lambda row: (row.dataset, row.judge_and_mark))]


def _tabulate_cells(rows: Sequence[LeaderboardRow], parts: Iterable[Sequence[LeaderboardRow]]) -> list[str]:
    names = ["model", "setting", "dataset", "judge", "metric"]
    figures = ["score", f"{level_of(rows)} interval", "coverage %", "bounds", "n", "scored", "clusters"]
    counts = endings_of(rows, is_file=True) | noises_of(rows) | agreement_of(rows) | bills_of(rows)
    further = further_of(rows)
    lines = [[*names, *figures, "unparsed", "errors", *counts, *(metric.heading for metric in further)]]
    for part in parts:
        means = show_means(part[0].score.metric, [row.score.overall for row in part])
        others = [show_means(metric, [mean_of(row, metric) for row in part]) for metric in further]
        for row, mean, *beside in zip(part, means, *others, strict=True):
            overall = row.score.overall
            lines.append(
                [
                    " ".join([row.model, *row.marks]),
                    row.setting,
                    row.dataset,
                    f"{row.judge_and_mark} {row.kinship}".rstrip(),
                    row.score.metric.heading,
                    *(mean.value, mean.interval, show_share(overall.coverage), mean.bounds or NO_VALUE),
                    *map(str, (overall.n, overall.num_scored, overall.num_clusters)),
                    *map(str, (row.score.num_unparsed, row.errors)),
                    *(count(row) for count in counts.values()),
                    *(f"{other.value} ({other.interval})" if other.value else "" for other in beside),
                ]
            )
    return format_table(lines, num_names=len(names))


def _tabulate_groups(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    """The headline by groups of samples, for the rows of one dataset and judge; nothing where there is no group."""
    first, groups = rows[0], groups_of(rows)
    for column, of_column in groupby(groups, key=lambda group: group.column):
        head = [column, "model", "setting", "score", f"{level_of(rows)} interval", "n", "scored", "clusters"]
        lines = [head]
        for group in of_column:
            for row, mean, shown in zip(rows, group.means, show_means(first.score.metric, group.means), strict=True):
                if mean:
                    names = [group.name, " ".join([row.model, *row.marks]), row.setting]
                    counts = (mean.n, mean.num_scored, mean.num_clusters)
                    lines.append([*names, shown.value, shown.interval, *map(str, counts)])
        title = f"By {column}: {first.dataset} judged by {first.judge_and_mark}, {first.score.metric.heading}"
        yield from (f"## {as_markdown(title)}", "", *format_table(lines, num_names=3), "")


def _tabulate_reasons(rows: Sequence[LeaderboardRow]) -> Iterator[str]:
    """The cells that are blocked and those that have failed, with their reasons; nothing where there is none."""
    names = ["model", "setting", "dataset", "judge", "why"]
    for heading, reason_of in (("Blocked", attrgetter("blocked")), ("Failed", attrgetter("failed"))):
        reasons = [(row, reason_of(row)) for row in rows]
        lines = [[row.model, row.setting, row.dataset, row.judge, reason] for row, reason in reasons if reason]
        if lines:
            yield from (f"## {heading}", "", *format_table([names, *lines], num_names=len(names)), "")


def _render_part(rows: Sequence[LeaderboardRow]) -> FittingTable:
    """The rows of one dataset and judge, two lines each: means above, their intervals below."""
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
    metric = rows[0].score.metric
    totals = [row.score.overall for row in rows]
    means = show_means(metric, totals)
    values = [
        # Bold is for figures that can be compared.
        pair(mean.value, mean.interval, "bold" if row.is_comparable else "")
        for row, mean in zip(rows, means, strict=True)
    ]
    coverages = [
        pair(show_share(total.coverage), mean.bounds, "yellow" if total.coverage < 1 else "")
        for total, mean in zip(totals, means, strict=True)
    ]
    troubles = [
        Text.assemble(counted(row.score.num_unparsed, "yellow"), "\n", counted(row.errors, "red")) for row in rows
    ]
    columns = [
        Column(pair("model", "  setting", "bold"), names, is_name=True),
        Column(pair(metric.heading, f"{level_of(rows)} CI", "bold"), values),
        Column(pair("coverage %", "bounds", "bold"), coverages),
        Column(pair("n", "clusters", "bold"), [pair(str(total.n), str(total.num_clusters)) for total in totals]),
        Column(pair("unparsed", "errors", "bold"), troubles),
    ]
    endings = endings_of(rows, is_file=False)
    if "truncated" in endings:
        truncated, empty = endings.pop("truncated"), endings.pop("empty")
        cells = [Text(f"{truncated(row)}\n{empty(row)}", style="yellow") for row in rows]
        columns.append(Column(pair("truncated", "empty", "bold"), cells))
    for heading, count in endings.items():
        cells = [Text(count(row), style="yellow") for row in rows]
        columns.append(Column(heading.replace(" ", "\n", 1), cells, rank=1))
    for heading, figure in (noises_of(rows) | agreement_of(rows)).items():
        columns.append(Column(heading.replace(" ", "\n", 1), [figure(row) for row in rows], rank=1))
    for heading, figure in bills_of(rows).items():
        columns.append(Column(heading, [figure(row) for row in rows], rank=1))
    for other in further_of(rows):
        beside = show_means(other, [mean_of(row, other) for row in rows])
        columns.append(Column(other.heading, [pair(mean.value, mean.interval) for mean in beside], rank=1))
    for group in groups_of(rows):
        name = pair(in_line(group.heading), f"n {group.n}", "bold")
        shown = show_means(metric, group.means)
        columns.append(Column(name, [pair(mean.value, mean.interval) for mean in shown], rank=2))
    return FittingTable(columns, elsewhere="leaderboard.md and .csv, --json and a wider terminal have them")

"""The leaderboard for people: one row per cell, as a terminal table and as Markdown, by dataset, judge and score.

The terminal table has a part per dataset and judge, and intervals below their means; what does not fit is left out and
named. The other is flat. Both shapes stand here, since they must say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from eibench_ray.report.leaderboard_figures import (
    bills_of,
    bounds_of,
    coverage_of,
    endings_of,
    find_group,
    further_of,
    groups_of,
    interval_of,
    level_of,
    noises_of,
    notes_of,
    show,
)
from eibench_ray.report.leaderboard_row import LeaderboardRow, sort_rows
from eibench_ray.report.markdown_table import format_table
from eibench_ray.scoring.rounding import NO_VALUE
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
    for (dataset, judge), group in groupby(ordered, key=lambda row: (row.dataset, row.judge_and_mark)):
        parts += [
            Text.assemble((in_line(dataset), "bold"), " judged by ", (in_line(judge), "bold")),
            _render_part(list(group)),
            Text(),
        ]
    return Group(*parts, *(Text(note, style="dim") for note in notes_of(ordered)))


def render_markdown(rows: Iterable[LeaderboardRow]) -> str:
    """The leaderboard as one GitHub Markdown table with its notes, and one of the blocked cells; ends in a newline."""
    everything = sort_rows(rows)
    ordered = [row for row in everything if not row.is_empty]
    names = ["model", "setting", "dataset", "judge", "metric"]
    groups, further = groups_of(ordered), further_of(ordered)
    figures = ["score", f"{level_of(ordered)} interval", "coverage %", "bounds", *groups]
    noises, bills = noises_of(ordered), bills_of(ordered)
    endings = endings_of(ordered, is_file=True)
    lines = [[*names, *figures, "n", "unparsed", "errors", *endings, *noises, *bills, *further]]
    for row in ordered:
        score, metric = row.score, row.score.metric
        of_groups = (find_group(row, *group) for group in groups.values())
        others = (find(row) for find in further.values())
        lines.append(
            [
                " ".join([row.model, *row.marks]),
                row.setting,
                row.dataset,
                f"{row.judge_and_mark} {row.kinship}".rstrip(),
                metric.heading,
                show(metric, score.overall.value),
                interval_of(metric, score.overall),
                coverage_of(score.overall),
                bounds_of(metric, score.overall) or NO_VALUE,
                *(show(metric, found.value) if found else "" for found in of_groups),
                str(score.overall.n),
                str(score.num_unparsed),
                str(row.errors),
                *(count(row) for count in endings.values()),
                *(noise(row) for noise in noises.values()),
                *(bill(row) for bill in bills.values()),
                *(
                    f"{show(one.metric, one.overall.value)} {interval_of(one.metric, one.overall)}" if one else ""
                    for one in others
                ),
            ]
        )
    table = [*format_table(lines, num_names=len(names)), ""] if ordered else []
    notes = [f"- {note}" for note in notes_of(ordered)]
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
    metric = rows[0].score.metric
    totals = [row.score.overall for row in rows]
    values = [
        # Bold is for figures that can be compared.
        pair(show(metric, total.value), interval_of(metric, total), "bold" if row.is_comparable else "")
        for row, total in zip(rows, totals, strict=True)
    ]
    coverages = [
        pair(coverage_of(total), bounds_of(metric, total), "yellow" if total.coverage < 1 else "") for total in totals
    ]
    columns = [
        Column(pair("model", "  setting", "bold"), names, is_name=True),
        Column(pair(metric.heading, f"{level_of(rows)} CI", "bold"), values),
        Column(pair("coverage", "bounds", "bold"), coverages),
        Column("n", [str(total.n) for total in totals]),
        Column("un-\nparsed", [counted(row.score.num_unparsed, "yellow") for row in rows]),
        Column("errors", [counted(row.errors, "red") for row in rows]),
    ]
    for heading, count in endings_of(rows, is_file=False).items():
        cells = [Text(count(row), style="yellow") for row in rows]
        columns.append(Column(heading.replace(" ", "\n", 1), cells, rank=int(" " in heading)))
    for heading, figure in noises_of(rows).items():
        columns.append(Column(heading.replace(" ", "\n", 1), [figure(row) for row in rows], rank=1))
    for heading, figure in bills_of(rows).items():
        columns.append(Column(heading, [figure(row) for row in rows], rank=1))
    for heading, find in further_of(rows).items():
        others = [find(row) for row in rows]
        further = [
            pair(show(one.metric, one.overall.value), interval_of(one.metric, one.overall)) if one else ""
            for one in others
        ]
        columns.append(Column(heading, further, rank=1))
    for heading, (column, name) in groups_of(rows).items():
        groups = [find_group(row, column, name) for row in rows]
        shares = [
            pair(show(metric, group.value), interval_of(metric, group, max(metric.digits - 1, 0))) if group else ""
            for group in groups
        ]
        columns.append(Column(in_line(heading), shares, rank=2))
    return FittingTable(columns, elsewhere="leaderboard.md and .csv, --json and a wider terminal have them")

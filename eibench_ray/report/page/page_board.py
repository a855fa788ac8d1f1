"""The leaderboard of the page: columns of texts to be shown and numbers to be sorted by.

Every figure is written as in the other shapes of the leaderboard (`leaderboard_figures`); the page sorts and filters,
and computes none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

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
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.rank_range import RankRange
from eibench_ray.scoring.rounding import NO_VALUE, show_share
from eibench_ray.scoring.scorer import Metric

CellName = tuple[str, str, str, str]  # model, setting, dataset, judge


def make_board(
    rows: Sequence[LeaderboardRow], ranks: Mapping[CellName, RankRange], cells: Mapping[CellName, int]
) -> dict[str, Any]:
    """The leaderboard as plain values.

    Args:
        rows: of all cells.
        ranks: of those cells that have some.
        cells: the numbers by which the page knows cells whose samples it holds.
    """
    ordered = sort_rows(rows)
    shown = [row for row in ordered if not row.is_empty]
    counts = _counts_of(shown)
    further = further_of(shown)
    lines = []
    for _, part in groupby(shown, key=lambda row: (row.dataset, row.judge_and_mark)):
        lines += _make_part(list(part), further, counts, ranks, cells)
    return {
        "level": level_of(shown) if shown else "",
        "further": [_heading(metric) for metric in further],
        "counts": list(counts),
        "rows": lines,
        "groups": {
            column: list(dict.fromkeys(group.name for group in of_column))
            for column, of_column in groupby(groups_of(shown), key=lambda group: group.column)
        },
        "notes": notes_of(shown),
    }


def _counts_of(rows: Sequence[LeaderboardRow]) -> dict[str, Callable[[LeaderboardRow], str]]:
    """The columns of counts, by their headings; those that are 0 for all rows are left out, but for errors."""
    unparsed = {"unparsed": lambda row: str(row.score.num_unparsed)} if any(r.score.num_unparsed for r in rows) else {}
    errors = {"errors": lambda row: str(row.errors)}
    endings = endings_of(rows, is_file=False)
    kept = {name: count for name, count in endings.items() if any(count(row) != "0" for row in rows)}
    return {**unparsed, **errors, **kept, **noises_of(rows), **agreement_of(rows), **bills_of(rows)}


def _heading(metric: Metric) -> dict[str, str]:
    return {"name": metric.heading, "direction": metric.direction}


def _make_part(
    part: Sequence[LeaderboardRow],
    further: Sequence[Metric],
    counts: Mapping[str, Callable[[LeaderboardRow], str]],
    ranks: Mapping[CellName, RankRange],
    cells: Mapping[CellName, int],
) -> list[dict[str, Any]]:
    """The rows of one dataset and judge, whose figures have the same digits."""
    metric = part[0].score.metric
    totals = _make_means(metric, [row.score.overall for row in part])
    beside = [_make_means(one, [mean_of(row, one) for row in part]) for one in further]
    groups = [(group, _make_means(metric, group.means)) for group in groups_of(part)]
    lines = []
    for place, row in enumerate(part):
        name = (row.model, row.setting, row.dataset, row.judge)
        rank = ranks.get(name)
        of_groups: dict[str, dict[str, Any]] = {}
        for group, means in groups:
            of_groups.setdefault(group.column, {})[group.name] = means[place]
        lines.append(
            {
                "cell": cells.get(name),
                "names": [row.model, row.setting, row.dataset, row.judge_and_mark],
                "marks": [mark.strip("()") for mark in row.marks],
                "kinship": row.kinship.strip("()"),
                "metric": _heading(metric),
                "score": totals[place],
                "bold": row.is_comparable,
                "further": [means[place] for means in beside],
                "groups": of_groups,
                "rank": [rank.best, rank.worst, rank.num_ranked] if rank else None,
                "tied": rank.is_tied_with_best if rank else False,
                "counts": [[_number(text := count(row)), text] for count in counts.values()],
                "reason": row.failed or row.blocked,
            }
        )
    return lines


def _make_means(metric: Metric, means: Sequence[MetricSummary | None]) -> list[dict[str, Any] | None]:
    """Means as the page draws them. The ends of the axis are the metric's, or those of the intervals if it has none."""
    ends = [end for mean in means if mean for end in (mean.ci_low, mean.ci_high, mean.value) if end is not None]
    low = metric.low if metric.low is not None else min(ends, default=0.0)
    high = metric.high if metric.high is not None else max(ends, default=1.0)
    return [
        {
            "value": mean.value,
            "text": shown.value,
            "interval": shown.interval if shown.interval != NO_VALUE else "",
            "bounds": shown.bounds,
            "low": mean.ci_low,
            "high": mean.ci_high,
            "axis": [low, high],
            "n": mean.n,
            "scored": mean.num_scored,
            "clusters": mean.num_clusters,
            "coverage": show_share(mean.coverage),
            "whole": mean.num_scored == mean.n,
        }
        if mean
        else None
        for mean, shown in zip(means, show_means(metric, means), strict=True)
    ]


def _number(text: str) -> float | None:
    """The number that a written figure is sorted by."""
    try:
        return float(text.lstrip("<>").replace(",", ""))
    except ValueError:
        return None

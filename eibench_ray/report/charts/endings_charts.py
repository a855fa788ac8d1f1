"""Endings by kind: of each cell's answers, of the judge's replies, of the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from eibench_ray.report.charts.cell_labels import counted, label_cells
from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.look import cut_lines, make_chart
from eibench_ray.report.charts.stacked_bars import draw_bars
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.rows.completion import ABSENT, WHOLE
from eibench_ray.scoring.cell_columns import MISSING
from eibench_ray.scoring.rounding import show_share
from eibench_ray.scoring.scorer import ScoreStatus
from eibench_ray.visible_text import in_line

_WORDS = {ScoreStatus.OK.value: "scored", ABSENT: "nothing to ask", MISSING: "not asked yet"}
_FINE = {WHOLE: "#C9CFD4", "scored": "#C9CFD4", "nothing to ask": "#E4E1DA"}  # pale: nobody looks for them
# Bright enough for black ink, in an order in which neighbours differ for the colour-blind, too.
_ODD = ("#E69F00", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#F0E442", "#A387C9", "#8F9A94")
_WHAT: Mapping[str, tuple[str, Callable[[LeaderboardRow], Mapping[str, int]]]] = {
    "answers": ("Endings of the answers", lambda row: row.endings),
    "replies": ("Endings of the judges' replies", lambda row: row.reply_endings),
    "scores": ("Scores and why some are missing", lambda row: row.score.statuses),
}


def draw_endings(rows: Sequence[LeaderboardRow]) -> Iterator[Chart]:
    """Up to three pictures; one in which all is as it should be is left out."""
    for name, (title, read) in _WHAT.items():
        known = [(row, {_name(kind): count for kind, count in read(row).items()}) for row in rows if read(row)]
        if any(kind not in _FINE for _, counts in known for kind in counts):
            yield _draw(name, title, known)


def _name(kind: str) -> str:
    return _WORDS.get(kind) or in_line(kind.replace("_", " "))


def _draw(name: str, title: str, known: Sequence[tuple[LeaderboardRow, Mapping[str, int]]]) -> Chart:
    def num_odd(counts: Mapping[str, int]) -> float:
        return sum(count for kind, count in counts.items() if kind not in _FINE) / sum(counts.values())

    shown, cut = cut_lines(sorted(known, key=lambda one: -num_odd(one[1])))
    labels = label_cells([row for row, _ in shown])
    lines = {label: counts for label, (_, counts) in zip(labels, shown, strict=True)}
    kinds = list(dict.fromkeys(kind for counts in lines.values() for kind in counts))
    odd = [kind for kind in kinds if kind not in _FINE]
    colours = {kind: colour for kind, colour in _FINE.items() if kind in kinds}
    colours |= {kind: _ODD[place % len(_ODD)] for place, kind in enumerate(odd)}
    sums = {kind: sum(counts.get(kind, 0) for counts in lines.values()) for kind in odd}

    def show(line: str, count: float) -> str:
        return f"{count:,.0f} ({show_share(count / sum(lines[line].values()))}%)"

    told = ", ".join(f"{count:,} {kind}" for kind, count in sums.items() if count)
    total = sum(sum(counts.values()) for counts in lines.values())
    text = f"Of {total:,} {name} of {counted(len(lines), 'cell')}: {told}. Most of them: {labels[0]}."
    return make_chart(name, title, text + cut, draw_bars(lines, colours, f"% of the {name}", show, are_shares=True))

"""The score of each cell against what it took: words of an answer, money, GPU time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from eibench_ray.report.charts.cell_labels import by_table, label_cells, name_table, scaled, show_figure, title_axis
from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.look import make_chart
from eibench_ray.report.charts.scatter import Point, ScatterPlot, draw_scatter, find_best
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.rows.prices import format_usd
from eibench_ray.scoring.cell_comparison import Comparison
from eibench_ray.scoring.rounding import show_coefficient
from eibench_ray.scoring.scorer import Metric
from eibench_ray.visible_text import in_line


def draw_lengths(rows: Sequence[LeaderboardRow], comparison: Comparison) -> Iterator[Chart]:
    """Score against the mean length of an answer; within a cell, rho says whether its longer answers score higher."""
    rhos = {f"{one.model}/{one.setting}/{one.dataset}/{one.judge}": one.correlation.rho for one in comparison.lengths}

    def show(row: LeaderboardRow) -> str:
        rho = rhos.get(row.cell)
        within = "" if rho is None else f"; rho of score and length within the cell: {show_coefficient(rho)}"
        return f"{row.mean_words:,.1f}{within}"

    yield from _draw(rows, "length", "Score and length of answer", "words per answer", _words, show, is_price=False)


def draw_costs(rows: Sequence[LeaderboardRow]) -> Iterator[Chart]:
    """Score against cost, of the rows that a cell rests on, whichever run paid for them."""
    yield from _draw(
        rows, "cost", "Score and cost", "cost of the cell, $", _cost, lambda row: format_usd(_cost(row) or 0)
    )


def draw_gpu_hours(rows: Sequence[LeaderboardRow], seconds: Mapping[str, float], unit: str) -> Iterator[Chart]:
    """Score against GPU time.

    Args:
        rows: of the leaderboard.
        seconds: cell -> its part of what the replicas of the page's runs held; what other runs did is in no cell's.
        unit: what the seconds are of, `GPU` or `replica`.
    """
    largest = max(seconds.values(), default=0.0)
    name, unit_s = ("hours", 3600.0) if largest >= 3600 else ("minutes", 60.0) if largest >= 60 else ("seconds", 1.0)

    def read(row: LeaderboardRow) -> float | None:
        return seconds[row.cell] / unit_s if seconds.get(row.cell) else None

    x = f"{unit}-{name} of the cell in the runs here"
    yield from _draw(rows, "gpu-hours", f"Score and {unit} time", x, read, lambda row: f"{read(row):,.3g}")


def _words(row: LeaderboardRow) -> float | None:
    return row.mean_words


def _cost(row: LeaderboardRow) -> float | None:
    return row.cost_usd


def _draw(
    rows: Sequence[LeaderboardRow],
    name: str,
    title: str,
    x: str,
    read: Callable[[LeaderboardRow], float | None],
    show: Callable[[LeaderboardRow], str],
    *,
    is_price: bool = True,
) -> Iterator[Chart]:
    """A picture per dataset and judge of which two cells have such a figure."""
    tables = by_table([row for row in rows if read(row) is not None])
    for number, ((dataset, judge, metric), found) in enumerate(tables.items(), 1):
        if len(found) < 2:
            continue
        points = [
            _to_point(label, row, metric, read(row) or 0.0, show(row))
            for label, row in zip(label_cells(found), found, strict=True)
        ]
        text = f"{title_axis(metric)} of {len(points)} cells against {x}."
        least, most = (choose(points, key=lambda point: point.x) for choose in (min, max))
        text += f" {least.name} has the least, {least.x_figure}, and scores {least.y_figure};"
        text += f" {most.name} the most, {most.x_figure}, and scores {most.y_figure}."
        if is_price and len(best := find_best(points, metric.direction)) > 1:
            text += f" The dashed line joins those that none beats for less: {', '.join(one.name for one in best)}."
        plot = ScatterPlot(x, title_axis(metric), metric.direction if is_price else None)
        heading = in_line(title + name_table(dataset, judge, tables))
        yield make_chart(f"{name}-{number}", heading, text, draw_scatter(points, plot))


def _to_point(label: str, row: LeaderboardRow, metric: Metric, x: float, x_figure: str) -> Point:
    found = row.score.overall
    assert found.value is not None
    low, high = (None if end is None else scaled(metric, end) for end in (found.ci_low, found.ci_high))
    figure, setting = show_figure(metric, found), in_line(row.setting)
    return Point(label, x, scaled(metric, found.value), x_figure, figure, found.n, low, high, setting)

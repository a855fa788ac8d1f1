"""Heat maps: a line per cell, a column per group of samples, the figure in each square."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from eibench_ray.report.charts.cell_labels import counted, label_cells, scaled, show_figure, title_axis
from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.look import LINE_HEIGHT, cut_lines, make_chart
from eibench_ray.report.leaderboard_row import LeaderboardRow, sort_rows
from eibench_ray.scoring.cell_score import MetricScore
from eibench_ray.scoring.sample_groups import order_groups
from eibench_ray.scoring.scorer import Metric
from eibench_ray.visible_text import in_line

ALL = "all samples"
_MOST_NUMBERED = 14  # columns: squares of more have no room for their figures
_MOST_LEVEL = 6  # columns: the names of more do not fit beside each other


def draw_heat_maps(rows: Sequence[LeaderboardRow]) -> Iterator[Chart]:
    """A picture per dataset, metric and column by which its samples are grouped."""
    places: dict[tuple[str, Metric, str], list[tuple[LeaderboardRow, MetricScore]]] = {}
    for row in sort_rows(rows):
        for one in row.score.metrics:
            for column, groups in one.groups.items():
                if any(found.value is not None for found in groups.values()):
                    places.setdefault((row.dataset, one.metric, column), []).append((row, one))
    datasets = {dataset for dataset, _, _ in places}
    for number, ((dataset, metric, column), found) in enumerate(places.items(), 1):
        where = f" on {dataset}" if len(datasets) > 1 else ""
        title = in_line(f"{metric.name} by {column}{where}")
        yield _draw(f"groups-{number}", title, metric, column, found)


def _draw(
    name: str, title: str, metric: Metric, column: str, found: Sequence[tuple[LeaderboardRow, MetricScore]]
) -> Chart:
    shown, cut = cut_lines(found)
    labels = label_cells([row for row, _ in shown])
    groups = [ALL, *order_groups({group for _, one in shown for group in one.groups[column]})]
    squares = [
        {
            "cell": label,
            "group": in_line(group),
            "value": scaled(metric, summary.value),
            "text": metric.show(summary.value),
            "figure": show_figure(metric, summary),
            "n": summary.n,
        }
        for label, (_, one) in zip(labels, shown, strict=True)
        for group, summary in {**one.groups[column], ALL: one.overall}.items()
        if summary.value is not None
    ]
    is_numbered = len(groups) <= _MOST_NUMBERED
    base = alt.Chart(alt.InlineData(values=squares), height=(LINE_HEIGHT + 4) * len(labels)).encode(
        x=alt.X(
            "group:N",
            title=None,
            scale=alt.Scale(domain=[in_line(group) for group in groups]),
            axis=alt.Axis(orient="top", labelAngle=0 if len(groups) <= _MOST_LEVEL else -45, labelOverlap=False),
        ),
        y=alt.Y("cell:N", title=None, scale=alt.Scale(domain=labels)),
        tooltip=[
            alt.Tooltip("cell:N"),
            alt.Tooltip("group:N", title=in_line(column)),
            alt.Tooltip("figure:N", title=in_line(metric.heading)),
            alt.Tooltip("n:Q"),
        ],
    )
    low, high = _reach(squares)
    is_reversed = metric.direction == "lower"
    # Made for the colour-blind; its light end is the better one.
    colours = alt.Scale(scheme="cividis", domain=[low, high], reverse=is_reversed)
    legend = alt.Legend(title=title_axis(metric), gradientLength=160)
    layers = [base.mark_rect(cornerRadius=2).encode(color=alt.Color("value:Q", scale=colours, legend=legend))]
    if is_numbered:
        # Black and white can be read equally well on the colour that lies 45% of the way up.
        middle = low + (0.55 if is_reversed else 0.45) * (high - low)
        is_light = alt.datum.value < middle if is_reversed else alt.datum.value > middle
        ink = alt.condition(is_light, alt.value("#000000"), alt.value("#ffffff"))
        layers.append(base.mark_text(fontSize=11).encode(text="text:N", color=ink))
    return make_chart(name, title, _describe(metric, column, labels, squares) + cut, alt.LayerChart(layer=layers))


def _reach(squares: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The values at both ends of the colours."""
    values = [square["value"] for square in squares]
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _describe(metric: Metric, column: str, labels: Sequence[str], squares: Sequence[dict[str, Any]]) -> str:
    grouped = [square for square in squares if square["group"] != ALL]
    least, most = (choose(grouped, key=lambda square: square["value"]) for choose in (min, max))
    return in_line(
        f"{title_axis(metric)} of {counted(len(labels), 'cell')} by {column}. The highest is {most['text']} "
        f"({most['cell']}, {most['group']}), the lowest {least['text']} ({least['cell']}, {least['group']})."
    )

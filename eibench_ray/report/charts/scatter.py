"""Scatter plots: the score of each cell against what it took, settings by colour and shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Literal

import altair as alt

from eibench_ray.report.charts.look import INK, SHAPES
from eibench_ray.report.charts.series_marks import chart_of, mark_series

_MOST_NAMED = 20  # points: the names of more cover each other
_LOG_FROM = 30.0  # times that the largest is the smallest, from which on the axis is logarithmic
_HEIGHT = 320  # pixels


@dataclass(frozen=True, slots=True)
class Point:
    """One cell; its texts are fit to be shown."""

    name: str
    x: float
    y: float
    x_figure: str
    y_figure: str
    n: int
    low: float | None = None
    high: float | None = None
    series: str = ""


@dataclass(frozen=True, slots=True)
class ScatterPlot:
    """The axes of a scatter plot.

    Attributes:
        x, y: the titles of the axes.
        best: `higher` or `lower`: the better values of y, of which the best for less are joined; None: none are.
    """

    x: str
    y: str
    best: str | None = None


def draw_scatter(points: Sequence[Point], plot: ScatterPlot) -> alt.LayerChart:
    """The points over their intervals, the best for less joined."""
    xs = [point.x for point in points]
    is_log = min(xs) > 0 and max(xs) > _LOG_FROM * min(xs)
    x_scale = alt.Scale(type="log" if is_log else "linear", zero=False, nice=False, padding=24)
    x = alt.X("x:Q", title=plot.x, scale=x_scale, axis=alt.Axis(grid=not is_log))
    ends = [end for point in points for end in (point.y, point.low, point.high) if end is not None]
    y = alt.Y("y:Q", title=plot.y, scale=alt.Scale(domain=[min(ends), max(ends)], zero=False, nice=False, padding=12))
    layers = []
    if plot.best and len(best := find_best(points, plot.best)) > 1:
        line = chart_of([asdict(point) for point in best]).mark_line(color=INK, opacity=0.4, strokeDash=[5, 4])
        layers.append(line.encode(x=x, y=y, order="x:Q"))
    spans = [asdict(point) for point in points if point.low is not None and point.high is not None]
    if spans:  # a layer without data has no extent, of which Vega warns
        rule = chart_of(spans).mark_rule(color=INK, opacity=0.6)
        layers.append(rule.encode(x=x, y=alt.Y("low:Q", title=plot.y), y2="high:Q"))
    series = list(dict.fromkeys(point.series for point in points))
    is_told = 1 < len(series) <= len(SHAPES)
    values = [asdict(point) | ({} if is_told else {"series": series[0]}) for point in points]
    marks = mark_series(values, series if is_told else series[:1], is_told=is_told)
    tooltip = [
        alt.Tooltip("name:N", title="cell"),
        alt.Tooltip("y_figure:N", title=plot.y),
        alt.Tooltip("x_figure:N", title=plot.x),
        alt.Tooltip("n:Q", title="n"),
    ]
    layers.append(marks.encode(x=x, y=y, tooltip=tooltip))
    if len(points) <= _MOST_NAMED:
        middle = sqrt(min(xs) * max(xs)) if is_log else (min(xs) + max(xs)) / 2
        # Names go towards the middle, where there is room.
        for is_left in (True, False):
            side = [value for value, point in zip(values, points, strict=True) if (point.x <= middle) is is_left]
            if not side:
                continue
            align: Literal["left", "right"] = "left" if is_left else "right"
            dx = 9 if is_left else -9
            text = chart_of(side).mark_text(align=align, dx=dx, dy=-7, color=INK, fontSize=10, limit=150)
            layers.append(text.encode(x=x, y=y, text="name:N"))
    return alt.LayerChart(layer=layers, height=_HEIGHT)


def find_best(points: Sequence[Point], best: str) -> list[Point]:
    """The points to which no other is better for as little or less, from the least x on.

    >>> cheap, dear, worse = (Point("", x, y, "", "", 1) for x, y in ((1, 5), (3, 7), (2, 4)))
    >>> find_best([dear, worse, cheap], "higher") == [cheap, dear]
    True
    """
    sign = 1 if best == "higher" else -1
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -sign * point.y)):
        if not found or sign * point.y > sign * found[-1].y:
            found.append(point)
    return found

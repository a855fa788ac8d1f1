"""Dot plots: a line per name, dots with their intervals, a series by colour and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import altair as alt

from eibench_ray.report.charts.look import INK, LINE_HEIGHT, SHAPES
from eibench_ray.report.charts.series_marks import chart_of, mark_series

MOST_SERIES = len(SHAPES)
_NOTE_SHARE = 0.25  # of the width, for notes to the right of the dots


@dataclass(frozen=True, slots=True)
class Dot:
    """One figure; its texts are fit to be shown."""

    line: str
    value: float
    figure: str  # the value and its interval, as tooltips have it
    n: int
    low: float | None = None
    high: float | None = None
    series: str = ""


@dataclass(frozen=True, slots=True)
class DotPlot:
    """The axes, lines and series of a dot plot.

    Attributes:
        x: the title of the axis.
        lines: the names from above.
        series: the series in their order; one has no legend.
        joins: whether the dots of a line are joined.
        zero: the words for the line at 0; empty: there is none.
        notes: line -> what stands behind its last dot.
        ends: values that the axis has at least.
    """

    x: str
    lines: Sequence[str]
    series: Sequence[str] = ("",)
    joins: bool = False
    zero: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    ends: tuple[float, ...] = ()


def draw_dots(dots: Sequence[Dot], plot: DotPlot) -> alt.LayerChart:
    """The dots over their intervals."""
    y = alt.Y("line:N", title=None, scale=alt.Scale(domain=list(plot.lines)))
    # Notes stand to the right of the axis.
    reach: Any = [0, {"expr": f"width * {1 - _NOTE_SHARE}"}] if plot.notes else alt.Undefined
    scale = alt.Scale(domain=_reach(dots, plot), zero=False, range=reach)
    x = alt.X("value:Q", title=plot.x, scale=scale)
    layers = []
    if plot.zero:
        layers.append(chart_of([{"value": 0, "what": plot.zero}]).mark_rule(color=INK, strokeDash=[4, 3]).encode(x=x))
    spans = [
        {"line": dot.line, "value": dot.low, "end": dot.high}
        for dot in dots
        if dot.low is not None and dot.high is not None
    ]
    if plot.joins:
        of_line = {line: [dot.value for dot in dots if dot.line == line] for line in plot.lines}
        joins = [{"line": line, "value": min(found), "end": max(found)} for line, found in of_line.items() if found]
        layers.append(chart_of(joins).mark_rule(color=INK, strokeWidth=3, opacity=0.25).encode(x=x, x2="end:Q", y=y))
    if spans:
        layers.append(chart_of(spans).mark_rule(color=INK, strokeWidth=1.5, opacity=0.75).encode(x=x, x2="end:Q", y=y))
    has_series = len(plot.series) > 1
    marks = mark_series([asdict(dot) for dot in dots], plot.series, is_told=has_series)
    tooltip = [
        alt.Tooltip("line:N", title="what"),
        *([alt.Tooltip("series:N", title="which")] if has_series else []),
        alt.Tooltip("figure:N", title=plot.x),
        alt.Tooltip("n:Q", title="n"),
    ]
    layers.append(marks.encode(x=x, y=y, tooltip=tooltip))
    if plot.notes:
        last = {line: max(dot.value for dot in dots if dot.line == line) for line in plot.notes}
        notes = [{"line": line, "value": last[line], "note": note} for line, note in plot.notes.items()]
        layers.append(
            chart_of(notes).mark_text(align="left", dx=10, color=INK, fontSize=11).encode(x=x, y=y, text="note:N")
        )
    return alt.LayerChart(layer=layers, height=LINE_HEIGHT * len(plot.lines))


def _reach(dots: Sequence[Dot], plot: DotPlot) -> list[float]:
    """Both ends of the axis: all dots and intervals."""
    ends = [end for dot in dots for end in (dot.value, dot.low, dot.high) if end is not None]
    ends += [*plot.ends, *[0.0] * bool(plot.zero)]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    return [low - room, high + room]

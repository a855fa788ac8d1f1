"""The pictures' look, and a drawn picture as a `Chart`.

Ink (text, axes, intervals) is the page's own colour of text, so that a picture stands on a light page, on a dark one
and on paper; its width is that of the place that it is put into. Draw it with Vega's SVG renderer: on a canvas
`currentColor` would stay as it was when the page was opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eibench_ray.report.charts.chart import Chart

if TYPE_CHECKING:
    import altair as alt

INK = "currentColor"
FONT = "system-ui, sans-serif"
# Okabe and Ito's colours, those first that stand on white and on black; yellow and black do not.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D46", "#7D7D7D")
# Shapes that stay apart where they lie on each other.
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "triangle-right", "triangle-left")
MOST_LINES = 60  # of a picture with a line per cell; more are a table's matter
LINE_HEIGHT = 22  # pixels
# Of a name, in pixels, after which it is cut off; the tooltip has it whole. A phone leaves room for the figures, too;
# where there is no page to measure, as when a file is drawn, the most stands.
_LABEL_WIDTH = {"expr": "clamp((containerSize()[0] || 900) * 0.3, 80, 260)"}
_CONFIG: Mapping[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "gridColor": INK,
        "gridOpacity": 0.15,
        "domain": False,
        "ticks": False,
        "labelLimit": _LABEL_WIDTH,
        "labelPadding": 6,
    },
    "axisY": {"grid": False},
    "axisX": {"labelOverlap": True},
    "axisQuantitative": {"tickCount": 7},
    "legend": {"labelColor": INK, "titleColor": INK, "titleFontWeight": "normal", "orient": "top", "labelLimit": 260},
    "title": {"color": INK, "subtitleColor": INK},
}


def make_chart(name: str, title: str, text: str, drawn: alt.LayerChart | alt.Chart) -> Chart:
    """A picture in the page's look, its specification validated.

    Args:
        name: an anchor.
        title: a heading.
        text: what it shows, in sentences.
        drawn: the picture without title, width and look.
    """
    spec = drawn.properties(width="container").to_dict()
    spec["config"] = dict(_CONFIG)
    return Chart(name, title, text, spec)


def cut_lines(lines: Sequence[Any], most: int = MOST_LINES) -> tuple[Sequence[Any], str]:
    """As many lines as a picture can hold, and a sentence that says how many there are; empty where all are in it."""
    if len(lines) <= most:
        return lines, ""
    return lines[:most], f" The first {most} of {len(lines):,} are drawn."

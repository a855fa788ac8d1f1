"""Marks that tell their series by colour and by shape, as every picture of figures has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from eibench_ray.report.charts.look import PALETTE, SHAPES


def chart_of(values: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """A chart with its data in it."""
    return alt.Chart(alt.InlineData(values=list(values)))


def mark_series(values: Sequence[Mapping[str, Any]], series: Sequence[str], *, is_told: bool) -> alt.Chart:
    """A mark for each value, its column `series` told by colour and shape.

    Args:
        values: data of the marks.
        series: the names in their order.
        is_told: whether there is a legend.
    """
    domain = list(series)
    legend = alt.Legend(title=None, symbolSize=110) if is_told else None
    marks: alt.Chart = (
        chart_of(values)
        .mark_point(filled=True, size=95, opacity=1)
        .encode(
            color=alt.Color("series:N", scale=alt.Scale(domain=domain, range=list(PALETTE)), legend=legend),
            shape=alt.Shape("series:N", scale=alt.Scale(domain=domain, range=list(SHAPES)), legend=legend),
        )
    )
    return marks

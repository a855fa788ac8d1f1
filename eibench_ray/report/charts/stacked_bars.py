"""Stacked bars: a line per name, parts by kind in the legend's order, named where they are wide enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import altair as alt

from eibench_ray.report.charts.look import LINE_HEIGHT

_LEAST_NAMED = 0.12  # of the axis: narrower parts have no room for their names
_INK = "#000000"  # on the colours of the parts, whatever the page's own is


def draw_bars(
    lines: Mapping[str, Mapping[str, float]],
    colours: Mapping[str, str],
    x: str,
    show: Callable[[str, float], str],
    *,
    are_shares: bool = False,
) -> alt.LayerChart:
    """The bars from above.

    Args:
        lines: line -> kind -> amount.
        colours: kind -> colour, in the order of the parts.
        x: the title of the axis.
        show: an amount, of a line, as tooltips have it.
        are_shares: whether bars are shares of their line, in percent.
    """
    longest = 100.0 if are_shares else max(sum(parts.values()) for parts in lines.values())
    parts = []
    for line, amounts in lines.items():
        start, total = 0.0, sum(amounts.values())
        for kind in colours:
            if amount := amounts.get(kind):
                end = start + (100 * amount / total if are_shares else amount)
                is_named = end - start >= _LEAST_NAMED * longest
                parts.append(
                    {
                        "line": line,
                        "kind": kind,
                        "start": round(start, 6),
                        "end": round(end, 6),
                        "middle": round((start + end) / 2, 6),
                        "figure": show(line, amount),
                        "name": kind if is_named else "",
                    }
                )
                start = end
    known = [kind for kind in colours if any(part["kind"] == kind for part in parts)]
    y = alt.Y("line:N", title=None, scale=alt.Scale(domain=list(lines)))
    scale = alt.Scale(domain=[0, longest], nice=False)
    base = alt.Chart(alt.InlineData(values=parts), height=(LINE_HEIGHT + 2) * len(lines))
    bars = base.mark_bar(height={"band": 0.8}).encode(
        x=alt.X("start:Q", title=x, scale=scale),
        x2="end:Q",
        y=y,
        color=alt.Color(
            "kind:N",
            scale=alt.Scale(domain=known, range=[colours[kind] for kind in known]),
            legend=alt.Legend(title=None, symbolType="square", columns=4),
        ),
        tooltip=[
            alt.Tooltip("line:N", title="what"),
            alt.Tooltip("kind:N"),
            alt.Tooltip("figure:N", title="amount"),
        ],
    )
    names = base.mark_text(color=_INK, fontSize=10).encode(x=alt.X("middle:Q", title=x), y=y, text="name:N")
    return alt.LayerChart(layer=[bars, names])

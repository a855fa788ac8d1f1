"""The picture of where the GPU time went: a lane per GPU, or, beyond what an eye can follow, GPUs by kind over time.

The colours differ for the colour-blind too, and bars also by their height: full
where requests run, lower where a replica comes or goes, a line where a GPU stands idle. The background is left open, so
that the picture stands on a light page and on a dark one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from eibench_ray.errors import DataError
from eibench_ray.report.gantt_lanes import Bar, Lane, cut_bars, find_longest, name_lanes, seat_replicas
from eibench_ray.schedule.gpu_usage import GpuUsage
from eibench_ray.schedule.replica_meter import TimeKind
from eibench_ray.scoring.rounding import show_share
from eibench_ray.storage.atomic_files import replacing
from eibench_ray.visible_text import in_line

SUFFIXES = (".html", ".svg")
MAX_LANES = 64

COLOURS = {  # in the order of the legend, and of the areas from below
    TimeKind.GENERATING: "#4BA3DB",
    TimeKind.JUDGING: "#E69F00",
    TimeKind.TAIL: "#A9D3EE",
    TimeKind.LOADING: "#A387C9",
    TimeKind.WAITING: "#D9CBEA",
    TimeKind.LEAVING: "#7D7D7D",
    TimeKind.IDLE: "#D55E00",
    TimeKind.DOES_NOT_FIT: "#8C6D46",
    TimeKind.NOTHING_READY: "#8F9A94",
    TimeKind.NO_WORK: "#C4C9C6",
    TimeKind.UNASSIGNED: "#DDD8CF",
    TimeKind.GIVEN_BACK: "#B7D9B1",
}
_HEIGHTS = {  # of a bar, as a share of its lane
    0.9: (TimeKind.GENERATING, TimeKind.JUDGING, TimeKind.TAIL),
    0.6: (TimeKind.LOADING, TimeKind.WAITING, TimeKind.LEAVING),
    0.15: (TimeKind.IDLE, TimeKind.DOES_NOT_FIT, TimeKind.NOTHING_READY, TimeKind.NO_WORK, TimeKind.UNASSIGNED),
    0.05: (TimeKind.GIVEN_BACK,),
}
_WIDTH = 960  # pixels, as all below
_LANE_HEIGHTS = {4: 40, 16: 26, 32: 18, MAX_LANES: 13}  # up to so many lanes
_AREA_HEIGHT = 400
_BAR_WIDTH = 2  # narrower ones are drawn together
_CHARACTER_WIDTH = 6.5
_LEAST_CHARACTERS = 8  # of a name that is cut off
_NUM_BINS = 480
_GREY = "#808080"  # text that can be read on white and on black
_INK = "#14202B"  # text on a bar


@dataclass(frozen=True, slots=True)
class _Clock:
    """The axis of time: which unit it counts in, from the start of the run."""

    start: float
    unit: str
    unit_s: float

    def read(self, time: float) -> float:
        """A moment of the ledger's clock on the axis."""
        return (time - self.start) / self.unit_s


def draw_lanes(usage: GpuUsage) -> alt.LayerChart:
    """The picture of an account without a look: lanes, or stacked areas where there are more than MAX_LANES of them."""
    clock = _choose_clock(usage)
    seats = seat_replicas(usage)
    lanes = name_lanes(usage, seats)
    layers = _draw_lanes(usage, seats, lanes, clock) if len(lanes) <= MAX_LANES else _draw_areas(usage, clock)
    return alt.LayerChart(layer=layers)


def draw_gantt(usage: GpuUsage, title: str) -> alt.LayerChart:
    """The picture of an account as a file of its own."""
    heading = alt.TitleParams(
        in_line(title), subtitle=_describe(usage, _choose_clock(usage)), anchor="start", offset=12
    )
    chart: alt.LayerChart = (
        draw_lanes(usage)
        .properties(width=_WIDTH, title=heading)
        .configure(background="transparent", font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_title(color=_GREY, subtitleColor=_GREY, fontSize=15, subtitlePadding=4)
        .configure_axis(labelColor=_GREY, titleColor=_GREY, gridColor=_GREY, gridOpacity=0.2, domain=False, ticks=False)
        .configure_legend(labelColor=_GREY, titleColor=_GREY, labelLimit=260)
    )
    return chart


def check_suffix(path: Path) -> None:
    """Passes a name that a picture can be written under.

    Raises:
        DataError: it ends otherwise.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: a Gantt picture is written as {' or '.join(SUFFIXES)}: name a file that ends so")


def write_gantt(path: Path, usage: GpuUsage, title: str) -> None:
    """Writes the picture: `.svg`, or `.html` that carries all it needs and opens without a network.

    Raises:
        DataError: the file's name ends otherwise.
        StoreError: the file cannot be written.
    """
    check_suffix(path)
    chart = draw_gantt(usage, title)
    with replacing(path) as draft:
        if path.suffix == ".html":
            draft.write_text(chart.to_html(inline=True, json_kwds={"cls": _HtmlSafe}), encoding="utf-8")
        else:
            chart.save(draft, format="svg")


class _HtmlSafe(json.JSONEncoder):
    """JSON that can stand in a page's script: no name in it ends the script, or begins a comment."""

    def encode(self, o: Any) -> str:
        """The text."""
        text = super().encode(o)
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return text


def _choose_clock(usage: GpuUsage) -> _Clock:
    for unit, unit_s in (("hours", 3600.0), ("minutes", 60.0)):
        if usage.end - usage.start >= 2 * unit_s:
            return _Clock(usage.start, unit, unit_s)
    return _Clock(usage.start, "seconds", 1.0)


def _describe(usage: GpuUsage, clock: _Clock) -> str:
    counts = {"nodes": len(usage.nodes), "GPUs": usage.num_gpus, "replicas": len(usage.replicas)}
    sizes = "".join(f"{name}: {count:,}, " for name, count in counts.items() if count)
    return f"{sizes}{clock.read(usage.end):.3g} {clock.unit}"


def _name_kinds(usage: GpuUsage) -> dict[TimeKind, str]:
    """The kinds that occur, in the legend's order, as words with their share."""
    seconds = usage.seconds()
    total = sum(seconds.values())
    occurring = seconds.keys() | {kind for replica in usage.replicas for kind in replica.seconds}
    shares = {kind: seconds.get(kind, 0.0) / total if total else 0.0 for kind in COLOURS if kind in occurring}
    names = {kind: f"{show_share(share):>5}%  {kind.label}" for kind, share in shares.items()}
    if usage.given_back_s:  # no share of what was kept
        names[TimeKind.GIVEN_BACK] = f"{usage.given_back_s / 3600:,.2f} GPU-hours  {TimeKind.GIVEN_BACK.label}"
    return names


def _encode(usage: GpuUsage, names: Mapping[TimeKind, str], clock: _Clock) -> dict[str, Any]:
    """The channels that lanes and areas have in common."""
    times = alt.Scale(domain=[0, max(clock.read(usage.end), 1e-3)], nice=False)
    colours = alt.Scale(domain=list(names.values()), range=[COLOURS[kind] for kind in names])
    legend = alt.Legend(title=f"share of {usage.unit} time", symbolType="square")
    return {
        "x": alt.X("start:Q", title=clock.unit, scale=times, axis=alt.Axis(tickCount=10)),
        "color": alt.Color("kind:N", scale=colours, legend=legend),
    }


def _draw_lanes(
    usage: GpuUsage, seats: Sequence[tuple[Lane, ...]], lanes: Mapping[Lane, str], clock: _Clock
) -> list[alt.Chart]:
    """Bars of as many heights as occur, and the models' names on those that are long enough."""
    names = _name_kinds(usage)
    bars = list(cut_bars(usage, seats, _BAR_WIDTH / _WIDTH * (usage.end - usage.start)))
    lane_height = next(pixels for most, pixels in _LANE_HEIGHTS.items() if len(lanes) <= most)
    height = lane_height * len(lanes)
    y = alt.Y("lane:N", title=None, scale=alt.Scale(domain=list(lanes.values())))
    channels = _encode(usage, names, clock) | {"x2": "end:Q", "y": y}
    tooltip = [alt.Tooltip(f"{name}:N") for name in ("model", "replica", "doing", "start", "end")]
    layers = []
    for share, kinds in _HEIGHTS.items():
        if not (rows := [_row(bar, lanes, names, clock) for bar in bars if bar.span.kind in kinds]):
            continue  # Vega warns of the infinite extent of a layer without data
        layer = alt.Chart(alt.InlineData(values=rows), height=height).mark_bar(height={"band": share})
        layers.append(layer.encode(**channels, tooltip=tooltip))
    characters = _WIDTH / (_CHARACTER_WIDTH * max(usage.end - usage.start, 1e-9))
    labels = [label for bar in find_longest(bars) if (label := _label(bar, lanes, clock, characters))]
    text = alt.Chart(alt.InlineData(values=labels)).mark_text(
        align="left", dx=4, color=_INK, fontSize=min(11, lane_height - 3)
    )
    return [*layers, text.encode(x=channels["x"], y=y, text="model:N")]


def _row(bar: Bar, lanes: Mapping[Lane, str], names: Mapping[TimeKind, str], clock: _Clock) -> dict[str, Any]:
    return {
        "lane": lanes[bar.lane],
        "kind": names[bar.span.kind],
        "doing": bar.span.kind.label,
        "start": round(clock.read(bar.span.start), 4),
        "end": round(clock.read(bar.span.end), 4),
        "model": in_line(bar.replica.model) if bar.replica else None,
        "replica": bar.replica.replica if bar.replica else None,
    }


def _label(bar: Bar, lanes: Mapping[Lane, str], clock: _Clock, characters: float) -> dict[str, Any] | None:
    """The name of a bar's model, cut to the bar's width; None where too little would be left of it.

    `characters` is how many of them fit into a second.
    """
    name = in_line(bar.replica.model) if bar.replica else ""
    room = int((bar.span.end - bar.span.start) * characters) - 1
    if room < min(len(name), _LEAST_CHARACTERS):
        return None
    text = name if len(name) <= room else f"{name[: room - 1]}…"
    return {"lane": lanes[bar.lane], "start": clock.read(bar.span.start), "model": text}


def _draw_areas(usage: GpuUsage, clock: _Clock) -> list[alt.Chart]:
    """GPUs of each kind over time, on top of each other: means of short stretches, so that nothing is left out."""
    names = _name_kinds(usage)
    edges = np.linspace(usage.start, usage.end, _NUM_BINS + 1)
    spans: dict[TimeKind, list[tuple[float, float, int]]] = defaultdict(list)
    for replica in usage.replicas:
        for span in replica.spans:
            spans[span.kind].append((span.start, span.end, usage.weight(replica)))
    for unheld in usage.unheld:
        spans[unheld.span.kind].append((unheld.span.start, unheld.span.end, len(unheld.gpus)))
    rows = []
    for order, (kind, name) in enumerate(names.items()):
        levels = _levels(spans[kind], edges)
        for edge, level in zip(edges, [*levels, levels[-1]], strict=True):
            rows.append({"start": clock.read(edge), "kind": name, "level": round(level, 2), "order": order})
    chart = alt.Chart(alt.InlineData(values=rows), height=_AREA_HEIGHT).mark_area(interpolate="step-after")
    scale = alt.Scale(domainMax=usage.num_gpus) if usage.unit == "GPU" else alt.Scale()
    y = alt.Y("level:Q", title=f"{usage.unit}s", stack=True, scale=scale)
    return [chart.encode(**_encode(usage, names, clock), y=y, order="order:Q")]


def _levels(spans: Sequence[tuple[float, float, int]], edges: np.ndarray[Any, Any]) -> list[float]:
    """The mean number of GPUs in each stretch between two edges, of spans (start, end, GPUs)."""
    if not spans:
        return [0.0] * (len(edges) - 1)
    starts, ends, weights = np.array(spans).T
    times, changes = np.concatenate([starts, ends]), np.concatenate([weights, -weights])
    order = np.argsort(times, kind="stable")
    times, level = times[order], np.cumsum(changes[order])
    area = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(times))])
    means: list[float] = (np.diff(np.interp(edges, times, area)) / np.diff(edges)).tolist()
    return means

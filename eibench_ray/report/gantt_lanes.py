"""The lanes of a Gantt picture: which GPU a bar lies on, and bars no narrower than an eye can tell. Values only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from eibench_ray.schedule.gpu_usage import GpuUsage, ReplicaUse
from eibench_ray.schedule.replica_meter import TimeKind, TimeSpan


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of the picture: a GPU of a node, or there a place for replicas that hold no GPU."""

    node: str
    holds_gpu: bool
    index: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of one lane; `replica` is None where none holds the GPU."""

    lane: Lane
    span: TimeSpan
    replica: ReplicaUse | None


def seat_replicas(usage: GpuUsage) -> list[tuple[Lane, ...]]:
    """The lanes of each replica: those of its GPUs, or without any the first that is free on its node."""
    seats: list[tuple[Lane, ...]] = []
    ends: dict[str, list[float]] = defaultdict(list)  # of what sits on the lanes without a GPU, by node
    for replica in usage.replicas:
        if not replica.gpus:
            node = replica.nodes[0] if replica.nodes else ""
            lanes = ends[node]
            index = next((i for i, end in enumerate(lanes) if end <= replica.start), len(lanes))
            lanes[index : index + 1] = [replica.end]
            seats.append((Lane(node, False, index),))
        else:
            seats.append(tuple(Lane(gpu.node, True, gpu.index) for gpu in replica.gpus))
    return seats


def name_lanes(usage: GpuUsage, seats: Sequence[tuple[Lane, ...]]) -> dict[Lane, str]:
    """All lanes with their names, from above: nodes as they joined, their GPUs, then what holds none."""
    all_lanes = {lane for lanes in seats for lane in lanes}
    all_lanes |= {Lane(gpu.node, True, gpu.index) for unheld in usage.unheld for gpu in unheld.gpus}
    places = {node: place for place, node in enumerate(usage.nodes)}
    namesakes = Counter(usage.nodes.values())
    has_one_node = len({lane.node for lane in all_lanes}) == 1

    def place(lane: Lane) -> tuple[int, str, bool, int]:
        return places.get(lane.node, len(places)), lane.node, not lane.holds_gpu, lane.index

    names = {}
    for lane in sorted(all_lanes, key=place):
        node = usage.nodes.get(lane.node, lane.node)
        node = f"{node} {lane.node[:6]}" if namesakes[node] > 1 else node
        slot = f"GPU {lane.index}" if lane.holds_gpu else f"no GPU {lane.index}"
        names[lane] = slot if has_one_node else f"{node} {slot}".strip()
    return names


def cut_bars(usage: GpuUsage, seats: Sequence[tuple[Lane, ...]], least_s: float) -> Iterator[Bar]:
    """All bars; a replica of several GPUs has the same on each. Spans shorter than `least_s` are drawn as one bar."""
    for unheld in usage.unheld:
        yield from (Bar(Lane(gpu.node, True, gpu.index), unheld.span, None) for gpu in unheld.gpus)
    for replica, lanes in zip(usage.replicas, seats, strict=True):
        for span in _coarsen(replica.spans, least_s):
            yield from (Bar(lane, span, replica) for lane in lanes)


def _coarsen(spans: Sequence[TimeSpan], least: float) -> Iterator[TimeSpan]:
    """The spans, those shorter than `least` seconds joined: as the kind that has most of their time."""
    short: list[TimeSpan] = []
    for span in spans:
        if span.end - span.start >= least:
            yield from _blend(short)
            yield span
            short = []
        else:
            short.append(span)
            if span.end - short[0].start >= least:
                yield from _blend(short)
                short = []
    yield from _blend(short)


def _blend(spans: Sequence[TimeSpan]) -> Iterator[TimeSpan]:
    if spans:
        seconds: dict[TimeKind, float] = defaultdict(float)
        for span in spans:
            seconds[span.kind] += span.end - span.start
        yield TimeSpan(max(seconds, key=seconds.__getitem__), spans[0].start, spans[-1].end)


def find_longest(bars: Iterable[Bar]) -> Iterable[Bar]:
    """Of each replica the longest bar at work, on its first lane."""
    longest: dict[int, Bar] = {}
    for bar in bars:
        if bar.replica and bar.span.kind in (TimeKind.GENERATING, TimeKind.JUDGING):
            known = longest.setdefault(id(bar.replica), bar)
            if bar.span.end - bar.span.start > known.span.end - known.span.start:
                longest[id(bar.replica)] = bar
    return longest.values()

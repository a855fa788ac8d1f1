"""The ledger's events, of a real run or of a simulated one, turned into the account of its GPU time.

Values only; linear in the number of events. Nodes, replicas and GPUs that none holds change together, event by event.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from eibench_ray.schedule.gpu_usage import Gpu, GpuUsage, ReplicaUse, Unheld
from eibench_ray.schedule.replica_meter import ReplicaMeter, TimeKind, TimeSpan


def account(
    events: Iterable[Mapping[str, Any]], roles: Mapping[str, TimeKind], *, until: float | None = None
) -> GpuUsage:
    """The account of a ledger's GPU time; `roles` are those of `step_roles`, `until` is now where a run still goes on.

    A clock that was set back stands still until it has caught up. What the ledger does not say is left out: without
    nodes there is no idle GPU, without `gpus` the unit is the replica.
    """
    books = _Books(roles)
    for event in events:
        books.note(event)
    return books.close(until)


@dataclass(slots=True)
class _Node:
    """A node's GPUs that no replica holds; `free` is a heap of their numbers."""

    since: float
    free: list[int]
    num_gpus: int
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class _Replica:
    """A replica that is there."""

    engine: str
    model: str
    nodes: tuple[str, ...]
    gpus: tuple[Gpu, ...]
    start: float
    meter: ReplicaMeter


@dataclass(slots=True)
class _Run:
    """The nodes and replicas of the run that is being read."""

    start: float
    nodes: dict[str, _Node] = field(default_factory=dict)
    replicas: dict[int, _Replica] = field(default_factory=dict)
    # Stretches in which the same GPUs of a node were free: (start, end, GPUs).
    free: list[tuple[float, float, tuple[Gpu, ...]]] = field(default_factory=list)
    # Moments at which replicas with GPUs were started -> GPUs of one node that the smallest of them needed.
    starts: dict[float, int] = field(default_factory=dict)
    released_at: float = math.inf  # since when no GPU is needed any more


class _Books:
    """Reads events in order. A ledger that was appended to holds several runs, one after the other."""

    def __init__(self, roles: Mapping[str, TimeKind]) -> None:
        self._roles = roles
        self._run: _Run | None = None
        self._start: float | None = None
        self._now = 0.0
        self._duration_s = 0.0
        self._num_gpus = 0
        self._names: dict[str, str] = {}
        self._replicas: list[ReplicaUse] = []
        self._unheld: list[Unheld] = []

    def note(self, event: Mapping[str, Any]) -> None:
        """Takes one event into account; an unknown one, or one of an unknown replica, only moves the clock."""
        name = event["event"]
        if name == "run_started":
            self._end_run(is_over=False)
        self._now = event["time"] if self._start is None else max(self._now, event["time"])
        self._start = self._now if self._start is None else self._start
        run = self._run = self._run or _Run(self._now)
        match name:
            case "slice_sent" | "slice_committed" | "slice_interrupted" | "slice_probed" | "slice_returned":
                self._note_slice(run, event)
            case "node_joined":
                self._join(run, event["node"], event["name"], int(event["gpus"]))
            case "node_left":
                self._leave(run, event["node"])
            case "replica_starting":
                self._begin(run, event)
            case "replica_placed" | "replica_ready" | "replica_stopping" | "replica_lost" | "replica_stopped":
                self._note_replica(run, event)
            case "gpus_released":
                run.released_at = self._now
            case "run_ended":
                self._end_run(is_over=True)

    def close(self, until: float | None) -> GpuUsage:
        """The account of all that was read."""
        if until is not None and self._run:
            self._now = max(self._now, until)
        self._end_run(is_over=False)
        has_gpus = self._num_gpus > 0
        return GpuUsage(
            self._start or 0.0,
            self._now,
            self._duration_s,
            "GPU" if has_gpus else "replica",
            self._num_gpus,
            self._names,
            tuple(sorted(self._replicas, key=lambda use: (use.start, use.replica))),
            tuple(self._unheld),
        )

    def _note_slice(self, run: _Run, event: Mapping[str, Any]) -> None:
        if (replica := run.replicas.get(event["replica"])) is None:
            return
        if event["event"] == "slice_sent":
            replica.meter.send(event["step"], event["slice"], event["rows"], self._now)
        else:
            replica.meter.end(event["step"], event["slice"], event.get("seconds", 0.0), self._now)

    def _note_replica(self, run: _Run, event: Mapping[str, Any]) -> None:
        if (replica := run.replicas.get(event["replica"])) is None:
            return
        match event["event"]:
            case "replica_placed":
                replica.meter.place(self._now)
            case "replica_ready":
                replica.meter.ready(event["capacity"], self._now)
            case "replica_stopped":
                self._release(run, event["replica"])
            case _:
                replica.meter.leave(self._now)

    def _join(self, run: _Run, node: str, name: str, num_gpus: int) -> None:
        self._leave(run, node)
        self._names[node] = name
        run.nodes[node] = _Node(self._now, list(range(num_gpus)), num_gpus)
        self._count_gpus(run)

    def _leave(self, run: _Run, node: str) -> None:
        """Ends the replicas on a node with it; what they held elsewhere counts as free from then on."""
        if node not in run.nodes:
            return
        for number, replica in list(run.replicas.items()):
            if node in replica.nodes:
                self._release(run, number)
        self._turn(run, node)
        del run.nodes[node]

    def _begin(self, run: _Run, event: Mapping[str, Any]) -> None:
        number, gpus = event["replica"], int(event.get("gpus", 0))
        self._release(run, number)
        nodes = tuple(event.get("nodes", ()))
        held: list[Gpu] = []
        places = nodes or ("",)
        for place, node in enumerate(places):
            share = gpus * (place + 1) // len(places) - gpus * place // len(places)
            held += self._hold(run, node, share)
        if gpus:
            bundle = -(-gpus // len(places))
            run.starts[self._now] = min(run.starts.get(self._now, bundle), bundle)
        meter = ReplicaMeter(self._now, self._roles)
        run.replicas[number] = _Replica(event["engine"], event["model"], nodes, tuple(held), self._now, meter)

    def _hold(self, run: _Run, node: str, num_gpus: int) -> Iterator[Gpu]:
        """Takes free GPUs of a node; those of a node that nobody announced are counted as they come up."""
        if not num_gpus:
            return
        if node not in run.nodes:
            run.nodes[node] = _Node(self._now, [], 0, is_known=False)
        self._turn(run, node)
        there = run.nodes[node]
        for _ in range(num_gpus):
            if not there.free:
                there.free.append(there.num_gpus)
                there.num_gpus += 1
                self._count_gpus(run)
            yield Gpu(node, heapq.heappop(there.free))

    def _release(self, run: _Run, number: int) -> None:
        if (replica := run.replicas.pop(number, None)) is None:
            return
        for node in dict.fromkeys(gpu.node for gpu in replica.gpus):
            self._turn(run, node)
        for gpu in replica.gpus:
            heapq.heappush(run.nodes[gpu.node].free, gpu.index)
        replica.meter.close(self._now)
        self._replicas.append(
            ReplicaUse(
                number,
                replica.engine,
                replica.model,
                replica.nodes,
                replica.gpus,
                replica.start,
                self._now,
                tuple(replica.meter.spans),
                dict(replica.meter.seconds),
                {step: dict(seconds) for step, seconds in replica.meter.step_seconds.items()},
            )
        )

    def _turn(self, run: _Run, node: str) -> None:
        """Closes the stretch of a node whose free GPUs are about to change."""
        there = run.nodes[node]
        if there.is_known and there.free and self._now > there.since:
            run.free.append((there.since, self._now, tuple(Gpu(node, index) for index in sorted(there.free))))
        there.since = self._now

    def _count_gpus(self, run: _Run) -> None:
        self._num_gpus = max(self._num_gpus, sum(node.num_gpus for node in run.nodes.values()))

    def _end_run(self, *, is_over: bool) -> None:
        """Closes the run that is being read, if any; `is_over`: it said so itself."""
        if (run := self._run) is None:
            return
        for number in list(run.replicas):
            self._release(run, number)
        for node in run.nodes:
            self._turn(run, node)
        last = TimeKind.NO_WORK if is_over else TimeKind.UNASSIGNED
        moments, needs = list(run.starts), list(run.starts.values())
        if run.released_at < math.inf:
            last = TimeKind.NO_WORK
        for start, end, gpus in run.free:
            kept_until = max(start, min(end, run.released_at))
            if start < kept_until:
                spans = _explain(start, kept_until, len(gpus), moments, needs, last)
                self._unheld += [Unheld(gpus, span) for span in spans]
            if kept_until < end:
                self._unheld.append(Unheld(gpus, TimeSpan(TimeKind.GIVEN_BACK, kept_until, end)))
        self._duration_s += self._now - run.start
        self._run = None


def _explain(
    start: float, end: float, num_free: int, moments: Sequence[float], needs: Sequence[int], last: TimeKind
) -> Iterator[TimeSpan]:
    """A stretch of free GPUs by cause: each moment of it by the next replica that was started; after those by `last`.

    `moments` and `needs` are when replicas were started and how many GPUs of one node the smallest of them needed.
    """
    first, after = bisect_right(moments, start), bisect_left(moments, end)
    causes = [TimeKind.DOES_NOT_FIT if need > num_free else TimeKind.NOTHING_READY for need in needs[first : after + 1]]
    stops = [*moments[first:after], end]
    causes += [last] * (len(stops) - len(causes))
    for cause, pieces in groupby(zip(causes, stops, strict=True), key=itemgetter(0)):
        *_, (_, stop) = pieces
        yield TimeSpan(cause, start, stop)
        start = stop

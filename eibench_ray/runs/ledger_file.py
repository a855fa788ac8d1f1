"""A run's ledger, read line by line, and the account of GPU time that it holds, as plain values."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eibench_ray.plan.graph import Plan
from eibench_ray.schedule.gpu_usage import GpuUsage, share_cells
from eibench_ray.schedule.replica_meter import TimeKind

_MOST = 2**40  # no time, count or number in a ledger is larger

# Which fields an event has at least; of others nothing but their time is read.
_FIELDS: Mapping[str, frozenset[str]] = {
    "node_joined": frozenset({"node", "name", "gpus"}),
    "node_left": frozenset({"node"}),
    "replica_starting": frozenset({"replica", "engine", "model"}),
    "replica_ready": frozenset({"replica", "engine", "model", "node", "load_s", "capacity", "fingerprint"}),
    "slice_sent": frozenset({"replica", "step", "slice", "rows"}),
    **dict.fromkeys(("replica_placed", "replica_stopping", "replica_lost", "replica_stopped"), frozenset({"replica"})),
    **dict.fromkeys(
        ("slice_committed", "slice_interrupted", "slice_probed", "slice_returned"),
        frozenset({"replica", "step", "slice"}),
    ),
}
_TEXTS = frozenset({"event", "node", "name", "engine", "model", "fingerprint", "step"})
_COUNTS = frozenset({"replica", "slice", "rows", "capacity"})
_NUMBERS = frozenset({"time", "load_s", "seconds"})
_MOST_GPUS = 1_000_000  # of one node or replica


def read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """The ledger's events; a line that a kill cut short, or that is no event for another reason, is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and _is_event(event):
                yield event


def _is_event(event: Mapping[str, Any]) -> bool:
    """Whether what reads ledgers can rely on its fields."""
    if not event.keys() >= {"time", "event"} or not all(_can_be(name, value) for name, value in event.items()):
        return False
    return event.keys() >= _FIELDS.get(event["event"], frozenset())


def _can_be(name: str, value: object) -> bool:
    if name in _TEXTS:
        return isinstance(value, str)
    if name == "nodes":
        return isinstance(value, list) and all(isinstance(node, str) for node in value)
    if name == "gpus":
        return isinstance(value, int | float) and 0 <= value <= _MOST_GPUS
    if name in _COUNTS:
        return isinstance(value, int) and 0 <= value <= _MOST
    return name not in _NUMBERS or (isinstance(value, int | float) and -_MOST <= value <= _MOST)


def describe_usage(usage: GpuUsage, plan: Plan) -> dict[str, Any]:
    """An account as JSON values. All seconds are in its unit, but for `start_s` and `end_s`: those are on the clock.

    A kind that did not occur is left out of `kinds`, and shares are of the sum of all kinds: of what the run kept.
    """
    sums = usage.seconds()
    total = sum(sums.values())
    engines: dict[str, dict[TimeKind, float]] = defaultdict(lambda: defaultdict(float))
    for replica in usage.replicas:
        for kind, seconds in replica.seconds.items():
            engines[replica.model][kind] += seconds * usage.weight(replica)
    return {
        "unit": usage.unit,
        "gpus": usage.num_gpus,
        "duration_s": _round(usage.duration_s),
        "seconds": _round(total),
        "given_back_s": _round(usage.given_back_s),
        "kinds": {
            kind.value: {"seconds": _round(seconds), "share": round(seconds / total, 4)}
            for kind, seconds in sums.items()
        },
        "engines": [{"name": name, **_part(seconds, total)} for name, seconds in engines.items()],
        "replicas": [
            {
                "replica": replica.replica,
                "name": replica.model,
                "nodes": [usage.nodes.get(node, node) for node in replica.nodes],
                "gpus": len(replica.gpus),
                "start_s": _round(replica.start - usage.start),
                "end_s": _round(replica.end - usage.start),
                **_part({kind: value * usage.weight(replica) for kind, value in replica.seconds.items()}, total),
            }
            for replica in usage.replicas
        ],
        "cells": [
            {
                "model": part.cell.model,
                "setting": part.cell.setting,
                "dataset": part.cell.dataset,
                "judge": part.cell.judge,
                **_part(part.seconds, total),
            }
            for part in share_cells(usage, plan)
        ],
    }


def _part(seconds: Mapping[TimeKind, float], total: float) -> dict[str, Any]:
    """A part of the whole, and its kinds."""
    part = sum(seconds.values())
    return {
        "seconds": _round(part),
        "share": round(part / total, 4) if total else 0.0,
        "kinds": {kind.value: _round(seconds[kind]) for kind in TimeKind if seconds.get(kind)},
    }


def _round(seconds: float) -> float:
    return round(seconds, 3)

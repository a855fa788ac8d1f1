"""The events of a run's ledger in words: a line per change of state, for people. Pure.

replica 3 of llava_next_7b is ready in 35 s on 10.0.0.2 (36 requests at once)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eibench_ray.plan.graph import Plan
from eibench_ray.plan.step_names import titles

INFO, WARNING = logging.INFO, logging.WARNING

# Event -> level, and line over its fields and the names for people that `Narrator._names` gives.
_LINES = {
    "node_joined": (INFO, "node {name} has joined: {gpus:g} GPUs, {cpus:g} cores"),
    "node_left": (WARNING, "node {node_} has left"),
    "replica_starting": (INFO, "{replica_} starts{where}"),
    "replica_ready": (
        INFO,
        "{replica_} is ready after {load_s:.1f} s on {node} (asks for up to {capacity} rows at once)",
    ),
    "replica_lost": (WARNING, "{replica_} is lost: {reason}"),
    "replica_stopping": (INFO, "{replica_} is told to stop"),
    "replica_stopped": (INFO, "{replica_} has stopped"),
    "replica_log": (INFO, "the last lines of {replica_} are kept in {path}"),
    "deadline": (WARNING, "waited {waited_s:g} s for {what}: {did}"),
    "gpus_released": (
        INFO,
        "what is left needs no GPU: all {gpus:g} are free for others",
    ),
    "engine_failed": (WARNING, "{model} is given up: {reason}"),
    "poison_search_begun": (
        WARNING,
        "replicas keep dying with a slice of {title}: its rows are asked alone, to find which one it is",
    ),
    "row_quarantined": (WARNING, "sample {sample} of {title} kills its engine: it is quarantined"),
    "budget_spent": (WARNING, "the budget is spent: {reason}"),
    "interrupted": (WARNING, "{end}: finishing what is in flight"),
}
_ENDS = {
    "stop": "told to stop",
    "preemption": "told to end by a signal",
    "walltime": "the walltime is nearly over",
    "hand_over": "what is left needs no GPU and is left to another run",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line about an event."""

    level: int  # of `logging`
    text: str


class Narrator:
    """Knows engines, steps and nodes by their names for people."""

    def __init__(self, plan: Plan) -> None:
        self._models = {key: spec.name for key, spec in plan.engines.items()}
        self._titles = titles(plan)
        self._nodes: dict[str, str] = {}

    def describe(self, event: str, fields: Mapping[str, Any]) -> Line | None:
        """The line of an event; None for what only programs read."""
        if event == "node_joined":
            self._nodes[fields["node"]] = fields["name"]
        if event not in _LINES:
            return None
        level, text = _LINES[event]
        return Line(level, text.format(**fields, **self._names(fields)))

    def _names(self, fields: Mapping[str, Any]) -> dict[str, str]:
        engine, step, node = (str(fields.get(name)) for name in ("engine", "step", "node"))
        where = ", ".join(self._nodes.get(node, node) for node in fields.get("nodes", ()))
        return {
            "replica_": f"replica {fields.get('replica')} of {self._models.get(engine, engine)}",
            "node_": self._nodes.get(node, node),
            "where": f" on {where}" if where else "",
            "title": self._titles.get(step, step),
            "end": _ENDS.get(str(fields.get("reason")), "told to stop"),
        }

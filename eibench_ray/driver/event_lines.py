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


@dataclass(frozen=True, slots=True)
class Line:
    """What is told of an event, and how loudly.

    Attributes:
        level: of `logging`.
    """

    level: int
    text: str


class Narrator:
    """Knows engines, steps and nodes by their names for people."""

    def __init__(self, plan: Plan) -> None:
        self._models = {key: spec.name for key, spec in plan.engines.items()}
        self._titles = titles(plan)
        self._nodes: dict[str, str] = {}

    def describe(self, event: str, fields: Mapping[str, Any]) -> Line | None:
        """The line of an event; None for what only programs read."""
        match event:
            case "node_joined":
                self._nodes[fields["node"]] = fields["name"]
                has = f"{fields['gpus']:g} GPUs, {fields['cpus']:g} cores"
                return _info(f"node {fields['name']} has joined: {has}")
            case "node_left":
                return _warning(f"node {self._nodes.get(fields['node'], fields['node'])} has left")
            case "replica_starting":
                where = ", ".join(self._nodes.get(node, node) for node in fields["nodes"])
                return _info(f"{self._replica(fields)} starts{f' on {where}' if where else ''}")
            case "replica_ready":
                ready = f"is ready after {fields['load_s']:.1f} s on {fields['node']}"
                return _info(f"{self._replica(fields)} {ready} (asks for up to {fields['capacity']} rows at once)")
            case "replica_lost":
                return _warning(f"{self._replica(fields)} is lost: {fields['reason']}")
            case "replica_stopping":
                return _info(f"{self._replica(fields)} is told to stop")
            case "replica_stopped":
                return _info(f"{self._replica(fields)} has stopped")
            case "replica_log":
                return _info(f"the last lines of {self._replica(fields)} are kept in {fields['path']}")
            case "deadline":
                return _warning(f"waited {fields['waited_s']:g} s for {fields['what']}: {fields['did']}")
            case "engine_failed":
                return _warning(f"{fields['model']} is given up: {fields['reason']}")
            case "slice_suspected":
                what = f"a slice of {self._titles.get(fields['step'], fields['step'])}"
                return _warning(f"replicas keep dying with {what}: its rows are asked alone, to find which one it is")
            case "row_quarantined":
                what = self._titles.get(fields["step"], fields["step"])
                return _warning(f"sample {fields['sample']} of {what} kills its engine: it is quarantined")
            case "budget_spent":
                return _warning(f"the budget is spent: {fields['reason']}")
            case "interrupted":
                return _warning(f"{_ENDS.get(str(fields['reason']), 'told to stop')}: finishing what is in flight")
        return None

    def _replica(self, fields: Mapping[str, Any]) -> str:
        return f"replica {fields['replica']} of {self._models.get(fields['engine'], fields['engine'])}"


_ENDS = {"stop": "told to stop", "preemption": "told to end by a signal", "walltime": "the walltime is nearly over"}


def _info(text: str) -> Line:
    return Line(logging.INFO, text)


def _warning(text: str) -> Line:
    return Line(logging.WARNING, text)

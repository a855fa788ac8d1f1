"""The scheduler's inputs: nodes, what a replica needs, and what an engine is expected to do. Values only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Literal

from eibench_ray.schedule.measured_engine import MeasuredEngine


@dataclass(frozen=True, slots=True)
class Resources:
    """Cores and GPUs."""

    cpus: float
    gpus: float

    def covers(self, need: Resources) -> bool:
        """Whether `need` fits into this."""
        return self.cpus >= need.cpus and self.gpus >= need.gpus

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.cpus + other.cpus, self.gpus + other.gpus)

    def __sub__(self, other: Resources) -> Resources:
        return Resources(self.cpus - other.cpus, self.gpus - other.gpus)


NOTHING = Resources(0, 0)
# What replicas compute on, which a sweep shares out among its engines.
Unit = Literal["gpu", "core"]
# Requests beyond an engine's batch, so that a finished one is replaced at once.
QUEUE_FACTOR = 1.1


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster."""

    id: str  # the cluster's own name of it (Ray: the node id in hexadecimal)
    name: str  # its name for people (host name or address)
    total: Resources  # what it has for replicas
    gpu_memory_gb: float = 0.0  # GB of each of its GPUs; 0 where that is not known
    gpu: str = ""  # what its GPUs are called, as far as the cluster knows
    ram_gb: float = 0.0  # GB of RAM for replicas; 0 where that is not known


@dataclass(frozen=True)  # without slots, for the cached property
class Need:
    """The resources that one replica reserves.

    Attributes:
        bundles: what it needs at a time on one node: one bundle, or one per pipeline stage. The bundles of a replica
            may lie on different nodes. None: it computes nothing here and is placed anywhere (endpoints, recordings).
        ram_gb: GB of RAM on the node of its only bundle; 0 where that is not known. Only what is one copy more asks
            whether it is there: it is a rough figure, too rough to refuse a sweep.
    """

    bundles: tuple[Resources, ...] = ()
    gpu_memory_gb: float = 0.0  # GB that each of its GPUs must have at least; 0 where that is not known
    ram_gb: float = 0.0

    @cached_property
    def gpus(self) -> float:
        """GPUs of one replica."""
        return self.units("gpu")

    def units(self, unit: Unit) -> float:
        """GPUs, or cores, of one replica."""
        return sum(units_of(bundle, unit) for bundle in self.bundles)


def units_of(resources: Resources, unit: Unit) -> float:
    """GPUs, or cores, of some resources."""
    return resources.gpus if unit == "gpu" else resources.cpus


def scarce_unit(needs: Iterable[Need]) -> Unit:
    """The unit that a sweep's replicas compete for: GPUs, or cores where none of them owns a GPU."""
    return "gpu" if any(need.gpus for need in needs) else "core"


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """The expected speed of an engine before it has run; what the run measures replaces the numbers.

    Attributes:
        token_weights: by step id, what a generated token costs there with its share of the prompt and the pictures, as
            a multiple of the engine's average; 1 where nothing is said.
        measured: the last run that has measured these numbers; None: they are what the configuration expects.
    """

    key: str  # of the plan's engine
    need: Need  # of one replica
    load_s: float  # seconds from start to the first request
    tokens_per_s: float  # generated tokens per second of one full replica
    capacity: int  # rows that one replica works on at once
    max_replicas: int | None  # copies at the same time; None: as many as pay
    tokens_per_row: Mapping[str, float]  # step id -> generated tokens of one reply
    alone_tokens_per_s: float | None = None  # generated tokens per second of a row that is alone; None: not known
    token_weights: Mapping[str, float] = field(default_factory=dict)
    measured: MeasuredEngine | None = None

    def weight(self, step: str) -> float:
        """A step's token weight."""
        return self.token_weights.get(step, 1.0)

    @property
    def most(self) -> float:
        """Copies at the same time; one where a copy computes nothing here: it would share the first one's limits."""
        if self.max_replicas is not None:
            return self.max_replicas
        return math.inf if self.need.bundles else 1


class Phase(StrEnum):
    """The phase of a replica's life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # finishes what it has, is given no more, and is stopped then
    LEAVING = "leaving"  # stopped or lost; what it holds is not free yet

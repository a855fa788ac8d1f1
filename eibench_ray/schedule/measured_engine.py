"""Measurements that a run makes of an engine and of itself, for the plans that come after it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eibench_ray.rows.asked_work import AskedWork


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """Rows of one step.

    Attributes:
        most_tokens, prompt_tokens: of a reply at most, of a prompt's text as it was expected: so that what was measured
            says something of other steps, too.
    """

    name: str  # `answer`, `verdict`, ..
    most_tokens: int
    prompt_tokens: float
    asked: AskedWork


@dataclass(frozen=True, slots=True)
class MeasuredEngine:
    """One engine in one run.

    Attributes:
        hardware: what a replica ran on, in words; of an endpoint, the limits that held. Empty: not known.
        load_s: seconds of a load, on average; None: none was loaded.
    """

    run: str  # id
    at: float  # when it ended, Unix time
    hardware: str
    gpus: float  # of one replica
    load_s: float | None
    steps: Mapping[str, MeasuredStep] = field(default_factory=dict)  # by id


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """Seconds of a run beside those of its engines."""

    run: str
    at: float
    before_s: float  # from its start until the nodes were known: Ray
    after_s: float  # from its last row until its end: replicas, scores, the page


def fits_hardware(measured: MeasuredEngine, hardware: str, gpus: float) -> bool:
    """Whether a measurement is of replicas like these; hardware that is not known is like any."""
    same = not hardware or not measured.hardware or hardware == measured.hardware
    return same and measured.gpus == gpus

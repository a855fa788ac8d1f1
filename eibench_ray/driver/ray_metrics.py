"""Figures of a run for Prometheus, by Ray's own metrics: each node's agent exports them, as `ray_` and their name.

Ray is imported when the first figure is told, in a run that has joined it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eibench_ray.driver.engine_series import EngineSeries, engine_series
from eibench_ray.driver.run_events import Snapshot
from eibench_ray.plan.graph import Plan

if TYPE_CHECKING:
    from ray.util.metrics import Gauge


@dataclass(frozen=True, slots=True)
class RunMetric:
    """One metric.

    Attributes:
        is_by_state: whether it has a value for each state of a replica.
    """

    name: str
    help: str
    is_by_state: bool = False


# All are gauges: a run counts from its own beginning, and a resumed one does so again.
METRICS = (
    RunMetric("eibench_ray_rows", "Rows that an engine has answered, those of earlier runs included."),
    RunMetric("eibench_ray_queue", "Rows that an engine is still to answer."),
    RunMetric("eibench_ray_errors", "Rows of this run that ended as an error."),
    RunMetric("eibench_ray_tokens", "Tokens that an engine has generated in this run."),
    RunMetric("eibench_ray_tokens_per_s", "Tokens per second of an engine, in the last half minute."),
    RunMetric("eibench_ray_cost_usd", "US dollars that the committed rows of this run have cost."),
    RunMetric("eibench_ray_gpus", "GPUs that an engine's replicas hold."),
    RunMetric("eibench_ray_replicas", "Replicas of an engine by what they do.", is_by_state=True),
)
_PREFIX = "eibench_ray_"


class RayMetricsListener:
    """Sets the gauges of each engine, about once a second."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._plan = plan
        self._tags = {"sweep": _to_ascii(plan.sweep), "run": run_id}
        self._gauges: dict[str, Gauge] = {}

    def update(self, snapshot: Snapshot) -> None:
        """Tells Ray's agent on this node, which keeps the last value."""
        if not self._gauges:
            self._gauges = _make_gauges(tuple(self._tags))
        for series in engine_series(self._plan, snapshot):
            self._set(series)

    def _set(self, series: EngineSeries) -> None:
        tags = self._tags | {"engine": _to_ascii(series.name)}
        for metric in METRICS:
            gauge = self._gauges[metric.name]
            if metric.is_by_state:
                for state, number in series.replicas.items():
                    gauge.set(number, tags | {"state": state})
            elif (value := series.figures.get(metric.name.removeprefix(_PREFIX))) is not None:
                gauge.set(value, tags)


def _to_ascii(text: str) -> str:
    r"""The text as Ray 2.60 takes a tag's value, which raises an error for any other character: `\u5343` for each."""
    return text.encode("ascii", "backslashreplace").decode()


def _make_gauges(tags: tuple[str, ...]) -> dict[str, Gauge]:
    from ray.util.metrics import Gauge

    return {
        metric.name: Gauge(metric.name, metric.help, (*tags, "engine", *(["state"] if metric.is_by_state else [])))
        for metric in METRICS
    }

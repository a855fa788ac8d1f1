"""Figures of a run for Prometheus, by Ray's own metrics: each node's agent exports them, as `ray_` and their name.

Ray is imported when the first figure is told, in a run that has joined it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from eibench_ray.driver.engine_series import EngineSeries, engine_series
from eibench_ray.driver.run_events import Snapshot
from eibench_ray.plan.graph import Plan

if TYPE_CHECKING:
    from ray.util.metrics import Counter, Gauge


@dataclass(frozen=True, slots=True)
class RunMetric:
    """One metric of an engine: a counter where the name ends with `_total`, else a gauge.

    Attributes:
        read: its value; where it has a tag, the values by the tag's. None, or a tag's value that is not there: unknown.
        tag: a tag beside those of the engine.
    """

    name: str
    help: str
    read: Callable[[EngineSeries], Any]
    tag: str = ""

    @property
    def is_counter(self) -> bool:
        """Whether it only grows; a resumed run counts from zero again, which `rate` and `increase` allow for."""
        return self.name.endswith("_total")

    def values(self, series: EngineSeries) -> Mapping[str, float]:
        """Its values by those of its tag; "" is the one of a metric that has none."""
        value = self.read(series)
        return value if self.tag else {} if value is None else {"": value}


METRICS = (
    RunMetric("eibench_ray_rows_total", "Answers of an engine.", attrgetter("new_rows")),
    RunMetric("eibench_ray_errors_total", "Rows of an engine that ended as an error.", attrgetter("errors")),
    RunMetric("eibench_ray_tokens_total", "Tokens that an engine has generated.", attrgetter("tokens")),
    RunMetric("eibench_ray_cost_usd_total", "US dollars that an engine's rows have cost.", attrgetter("cost_usd")),
    RunMetric("eibench_ray_queue", "Rows that an engine is still to answer.", attrgetter("queue")),
    RunMetric("eibench_ray_gpus", "GPUs that an engine's replicas hold.", attrgetter("gpus")),
    RunMetric("eibench_ray_replicas", "Replicas of an engine by what they do.", attrgetter("replicas"), "state"),
    RunMetric(
        "eibench_ray_gpu_use_percent",
        "Share of the last half minute in which a GPU computed.",
        lambda series: {gpu.place: gpu.percent for gpu in series.gpu_uses if gpu.percent is not None},
        "gpu",
    ),
    RunMetric(
        "eibench_ray_gpu_memory_gb",
        "Memory of a GPU that is taken, 1e9 bytes.",
        lambda series: {gpu.place: gpu.memory_gb for gpu in series.gpu_uses},
        "gpu",
    ),
)


class RayMetricsListener:
    """Tells the metrics of each engine, about once a second."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._plan = plan
        self._tags = {"sweep": _to_ascii(plan.sweep), "run": run_id}
        self._made: dict[str, Counter | Gauge] = {}
        self._told: dict[tuple[str, str], Mapping[str, float]] = {}  # by metric and engine

    def update(self, snapshot: Snapshot) -> None:
        """Tells Ray's agent on this node, which keeps the last value."""
        for series in engine_series(self._plan, snapshot):
            for metric in METRICS:
                self._tell(metric, series)

    def _tell(self, metric: RunMetric, series: EngineSeries) -> None:
        told, values = self._told.get((metric.name, series.key), {}), metric.values(series)
        # What is not known any more is over, as the use of a GPU that was given back.
        values = {**dict.fromkeys(told, 0.0), **values}
        for which, value in values.items():
            tags = self._tags | {"engine": _to_ascii(series.name), **({metric.tag: which} if metric.tag else {})}
            sink = self._sink(metric, tuple(tags))
            if not metric.is_counter:
                sink.set(value, tags)
            elif value > (before := told.get(which, 0.0)):
                sink.inc(value - before, tags)
        self._told[metric.name, series.key] = values

    def _sink(self, metric: RunMetric, tags: tuple[str, ...]) -> Any:
        if metric.name not in self._made:
            from ray.util.metrics import Counter, Gauge

            self._made[metric.name] = (Counter if metric.is_counter else Gauge)(metric.name, metric.help, tags)
        return self._made[metric.name]


def _to_ascii(text: str) -> str:
    r"""The text as Ray 2.60 takes a tag's value, which raises an error for any other character: `\u5343` for each."""
    return text.encode("ascii", "backslashreplace").decode()

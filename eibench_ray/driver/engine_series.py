"""Figures of each engine of a run at one moment, for those who draw them over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from eibench_ray.driver.run_events import EngineProgress, Snapshot
from eibench_ray.plan.graph import Plan
from eibench_ray.worker.gpu_meter import GpuUse

STATES = ("placing", "loading", "generating", "judging", "idle", "lost")


@dataclass(frozen=True, slots=True)
class EngineSeries:
    """One engine at one moment.

    Attributes:
        name: the model's, with a piece of the key where two engines have the same.
        rows: those that it has answered, in earlier runs, too.
        new_rows: those of this run.
        queue: rows that it is still to answer.
        replicas: by state, those that were lost since the run began included.
        gpus: GPUs that its replicas hold.
        gpu_uses: those of them that can be looked at.
    """

    key: str
    name: str
    rows: int
    new_rows: int
    queue: int
    errors: int
    tokens: int
    tokens_per_s: float | None  # in the last half minute; None: not known yet
    cost_usd: float
    replicas: Mapping[str, int]
    gpus: int
    gpu_uses: tuple[GpuUse, ...]

    @property
    def figures(self) -> dict[str, float | int]:
        """The figures by their names; a GPU's own have its place in theirs."""
        return {
            "rows": self.rows,
            "queue": self.queue,
            "errors": self.errors,
            "tokens": self.tokens,
            "cost_usd": self.cost_usd,
            "gpus": self.gpus,
            **({} if self.tokens_per_s is None else {"tokens_per_s": self.tokens_per_s}),
            **{f"replicas_{state}": number for state, number in self.replicas.items()},
            **({} if (mean := mean_use(self.gpu_uses)) is None else {"gpu_use_percent": mean}),
            **{f"gpu_use_percent/{gpu.place}": gpu.percent for gpu in self.gpu_uses if gpu.percent is not None},
            **{f"gpu_memory_gb/{gpu.place}": gpu.memory_gb for gpu in self.gpu_uses},
        }


def mean_use(gpus: Iterable[GpuUse]) -> float | None:
    """Mean use of some GPUs, percent; None where nobody says."""
    known = [gpu.percent for gpu in gpus if gpu.percent is not None]
    return fmean(known) if known else None


def engine_series(plan: Plan, snapshot: Snapshot) -> list[EngineSeries]:
    """The figures of all engines of a plan, in its order; tokens, errors and cost are this run's."""
    times = Counter(spec.name for spec in plan.engines.values())
    found = []
    for key, spec in plan.engines.items():
        steps = [step for step in plan.steps.values() if step.engine == key]
        rows = sum(snapshot.done.get(step.id, 0) for step in steps)
        spent = [snapshot.spent[step.id] for step in steps if step.id in snapshot.spent]
        progress = snapshot.engines.get(key, EngineProgress())
        found.append(
            EngineSeries(
                key,
                name=spec.name if times[spec.name] == 1 else f"{spec.name} {key[:4]}",
                rows=rows,
                new_rows=sum(one.rows for one in spent),
                queue=sum(plan.datasets[step.dataset].num_rows for step in steps) - rows,
                errors=sum(snapshot.errors.get(step.id, 0) for step in steps),
                tokens=progress.tokens,
                tokens_per_s=progress.tokens_per_s,
                cost_usd=sum(one.cost_usd for one in spent),
                replicas={state: getattr(progress, state) for state in STATES},
                gpus=(progress.loading + progress.ready) * spec.num_gpus,
                gpu_uses=snapshot.gpus.get(key, ()),
            )
        )
    return found

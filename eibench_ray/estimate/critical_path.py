"""The steps' order in time: when a row can reach each, what it leaves, the critical path. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from eibench_ray.plan.graph import Step
from eibench_ray.schedule.decode_speed import DecodeSpeed
from eibench_ray.schedule.resources import EngineProfile

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a chain."""

    what: str  # `load`, or the names of the steps
    engine: str  # its key
    seconds: float
    replicas: int = 1  # that share it


class RowPaths:
    """The times of rows on their way through the steps, if nothing but their own way takes time.

    Attributes:
        heads_s: per step, when the first of its rows can begin, its engine's load included.
        tails_s: per step, what the row that leaves least to others leaves to them.
        longest_s: the slowest row's way through all of its steps.
    """

    def __init__(self, steps: Sequence[Step], row_s: Mapping[str, Seconds], load_s: Mapping[str, float]) -> None:
        self.heads_s: dict[str, float] = {}
        self.ends_s: dict[str, Seconds] = {}  # per step and row, when it can have ended; 0 where there is nothing to do
        left_s = {step.id: np.zeros_like(row_s[step.id]) for step in steps}
        for step in steps:
            own_s = row_s[step.id]
            sources = [self.ends_s[source] for source in step.inputs.values() if source in self.ends_s]
            begins = reduce(np.maximum, sources, np.full_like(own_s, load_s[step.engine]))
            # A row that is done waits for nothing, and nothing waits for it.
            self.ends_s[step.id] = np.where(own_s > 0, begins + own_s, 0.0)
            self.heads_s[step.id] = float(begins[own_s > 0].min())
        for step in reversed(steps):
            for source in step.inputs.values():
                if source in left_s:
                    left_s[source] = np.maximum(left_s[source], left_s[step.id] + row_s[step.id])
        self.tails_s = {step: float(rows.min()) for step, rows in left_s.items()}
        self.longest_s = max((float(ends.max()) for ends in self.ends_s.values()), default=0.0)


class StepPaths(RowPaths):
    """The paths through the steps that have rows left, each row as long as it is expected to be."""

    def __init__(self, steps: Sequence[Step], rows: Mapping[str, int], profiles: Mapping[str, EngineProfile]) -> None:
        self._steps = {step.id: step for step in steps}
        self._profiles = profiles
        rows_of: Counter[str] = Counter()
        for step in steps:
            rows_of[step.engine] += rows[step.id]
        self.work_s: dict[str, float] = {}  # per step, what one full replica takes for all of its rows
        self.latency_s: dict[str, float] = {}  # per step, what one row takes among as many others as there are
        for step in steps:
            profile = profiles[step.engine]
            tokens = profile.tokens_per_row[step.id] * profile.weight(step.id)
            speed = DecodeSpeed.of(profile)
            tick_s = speed.alpha + speed.beta * min(profile.capacity, rows_of[step.engine])
            self.work_s[step.id] = rows[step.id] * tokens / profile.tokens_per_s
            self.latency_s[step.id] = tokens * tick_s
        row_s = {step: np.array([seconds]) for step, seconds in self.latency_s.items()}
        super().__init__(steps, row_s, {key: profile.load_s for key, profile in profiles.items()})

    def critical_path(self, replicas: Mapping[str, int]) -> tuple[Leg, ...]:
        """The chain that takes longest: a row's way, or one to an engine, through all of its work, and on.

        Args:
            replicas: per engine, how many share its work.
        """
        if not self._steps:
            return ()
        paths = [self._way(max(self._steps, key=self._ends_at))]
        paths += [self._path_through(engine, count) for engine, count in replicas.items()]
        return tuple(max(paths, key=lambda path: sum(leg.seconds for leg in path)))

    def _path_through(self, engine: str, replicas: int) -> list[Leg]:
        steps = [step for step in self._steps.values() if step.engine == engine]
        first = min(steps, key=lambda step: self.heads_s[step.id])
        last = min(steps, key=lambda step: self.tails_s[step.id])
        longest_s = max(self.latency_s[step.id] for step in steps)
        work_s = max(longest_s, sum(self.work_s[step.id] for step in steps) / replicas)
        names = ", ".join(dict.fromkeys(step.name for step in steps))
        return [*self._way_to(first), Leg(names, engine, work_s, replicas), *self._way_from(last)]

    def _way(self, step_id: str) -> list[Leg]:
        """A row's way to the end of a step."""
        step = self._steps[step_id]
        return [*self._way_to(step), Leg(step.name, step.engine, self.latency_s[step_id])]

    def _way_to(self, step: Step) -> list[Leg]:
        """The chain that a step waits for: its engine's load, or what it reads."""
        load_s = self._profiles[step.engine].load_s
        if load_s >= self.heads_s[step.id]:
            return [Leg("load", step.engine, load_s)]
        return self._way(max((name for name in step.inputs.values() if name in self._steps), key=self._ends_at))

    def _way_from(self, step: Step) -> Iterator[Leg]:
        """The longest chain of steps that reads from a step."""
        readers = [other for other in self._steps.values() if step.id in other.inputs.values()]
        if readers:
            longest = max(readers, key=lambda reader: self.latency_s[reader.id] + self.tails_s[reader.id])
            yield Leg(longest.name, longest.engine, self.latency_s[longest.id])
            yield from self._way_from(longest)

    def _ends_at(self, step: str) -> float:
        return float(self.ends_s[step].max())

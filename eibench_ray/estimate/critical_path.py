"""The steps' order in time: when a row can reach each, what it leaves, the critical path. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from eibench_ray.plan.graph import Step
from eibench_ray.schedule.decode_speed import DecodeSpeed
from eibench_ray.schedule.resources import EngineProfile


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a chain."""

    what: str  # `load`, or the names of the steps
    engine: str  # its key
    seconds: float
    replicas: int = 1  # that share it


class StepPaths:
    """The ways of rows through the steps that have rows left.

    Attributes:
        work_s: per step, what one full replica takes for all of its rows.
        latency_s: per step, what one row takes among as many others as there are.
        heads_s: per step, when the first of its rows have all that they read.
        tails_s: per step, what its rows leave to those that read them.
    """

    def __init__(self, steps: Sequence[Step], rows: Mapping[str, int], profiles: Mapping[str, EngineProfile]) -> None:
        self._steps = {step.id: step for step in steps}
        self._profiles = profiles
        rows_of: dict[str, int] = {}
        for step in steps:
            rows_of[step.engine] = rows_of.get(step.engine, 0) + rows[step.id]
        self.work_s: dict[str, float] = {}
        self.latency_s: dict[str, float] = {}
        self.heads_s: dict[str, float] = {}
        self._ends_s: dict[str, float] = {}
        for step in steps:
            profile = profiles[step.engine]
            tokens = profile.tokens_per_row[step.id]
            speed = DecodeSpeed.of(profile)
            tick_s = speed.alpha + speed.beta * min(profile.capacity, rows_of[step.engine])
            self.work_s[step.id] = rows[step.id] * tokens / profile.tokens_per_s
            self.latency_s[step.id] = tokens * tick_s
            self.heads_s[step.id] = max((self._ends_s[source] for source in self._sources(step)), default=0.0)
            self._ends_s[step.id] = max(self.heads_s[step.id], profile.load_s) + self.latency_s[step.id]
        self.tails_s = dict.fromkeys(self._steps, 0.0)
        for step in reversed(steps):
            for source in self._sources(step):
                self.tails_s[source] = max(self.tails_s[source], self.latency_s[step.id] + self.tails_s[step.id])

    @property
    def longest_s(self) -> float:
        """Seconds of the slowest row's way, loads included: no cluster is faster."""
        return max(self._ends_s.values(), default=0.0)

    def critical_path(self, replicas: Mapping[str, int]) -> tuple[Leg, ...]:
        """The chain that takes longest: a row's way, or one to an engine, through all of its work, and on.

        Args:
            replicas: per engine, how many share its work.
        """
        if not self._steps:
            return ()
        paths = [self._way(max(self._ends_s, key=self._ends_s.__getitem__))]
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
        return self._way(max(self._sources(step), key=self._ends_s.__getitem__))

    def _way_from(self, step: Step) -> Iterator[Leg]:
        """The longest chain of steps that reads from a step."""
        readers = [other for other in self._steps.values() if step.id in other.inputs.values()]
        if readers:
            longest = max(readers, key=lambda reader: self.latency_s[reader.id] + self.tails_s[reader.id])
            yield Leg(longest.name, longest.engine, self.latency_s[longest.id])
            yield from self._way_from(longest)

    def _sources(self, step: Step) -> list[str]:
        """The steps that a step reads and that have rows left themselves."""
        return [source for source in step.inputs.values() if source in self._ends_s]

"""A simulated sweep and its result: the cluster and the engines as they truly are."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from eibench_ray.estimate.lower_bound import Lengths, lower_bound_s
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import StepWork
from eibench_ray.schedule.resources import NOTHING, EngineProfile, Node, Resources


@dataclass(frozen=True, slots=True)
class World:
    """The cluster and the engines as they truly are, whatever the scheduler expects.

    Attributes:
        failing: share of the replicas that die; each at a time within what the whole sweep would take at best.
    """

    nodes: Sequence[tuple[float, Node]]  # with the second at which each joins
    engines: Mapping[str, EngineProfile]  # by key; `tokens_per_row` are true means
    spread: float = 0.5  # sigma of a reply's length, log-normal around its mean
    failing: float = 0.0
    seed: int = 0  # of lengths and deaths

    @property
    def num_gpus(self) -> float:
        """GPUs of all nodes, late ones included."""
        return self.total.gpus

    @property
    def total(self) -> Resources:
        """Cores and GPUs of all nodes, likewise."""
        return sum((node.total for _, node in self.nodes), NOTHING)


@dataclass(frozen=True)  # without slots, for the cached property
class Case:
    """One sweep to simulate, the same under every policy.

    Attributes:
        plan, work: the sweep and what is left of it.
        lengths: per step with something to do, the tokens of each row of its dataset, times the step's token weight; 0
            where a row is done.
    """

    plan: Plan
    work: Mapping[str, StepWork]
    world: World
    lengths: Mapping[str, Lengths]

    @classmethod
    def draw(cls, plan: Plan, work: Mapping[str, StepWork], world: World) -> Case:
        """A case whose replies are as long as the world's seed has it."""
        chance = np.random.default_rng(world.seed)
        lengths = {step: _draw_lengths(plan, step, left, world, chance) for step, left in work.items() if left.todo}
        return cls(plan, work, world, lengths)

    @cached_property
    def lower_bound_s(self) -> float:
        """Seconds that no policy goes below: see `estimate/lower_bound.py`."""
        if not self.lengths:
            return 0.0
        return lower_bound_s(self.plan, self.world.engines, self.lengths, self.world.total)

    @property
    def engines(self) -> list[str]:
        """Keys of the engines with something to do, in the plan's order."""
        return self.plan.engines_of(self.lengths)

    def new_outcome(self) -> SimulationResult:
        """An outcome to be filled in."""
        return SimulationResult(
            lower_bound_s=self.lower_bound_s,
            loads_at_least=sum(self.plan.engines[key].is_load for key in self.engines),
            rows=sum(slice_.num_rows for left in self.work.values() for slice_ in left.todo),
        )

    def only(self, steps: Collection[str], after_s: float) -> Case:
        """Some of the steps, as if the others were done, on the same cluster after so many seconds."""
        work = {step: left if step in steps else replace(left, todo=()) for step, left in self.work.items()}
        nodes = [(max(0.0, at - after_s), node) for at, node in self.world.nodes]
        lengths = {step: rows for step, rows in self.lengths.items() if step in steps}
        return Case(self.plan, work, replace(self.world, nodes=nodes), lengths)


@dataclass(slots=True)
class SimulationResult:
    """The result of a simulated run."""

    wall_clock_s: float = 0.0
    gpus_until_s: float | None = None  # when the last GPU was needed; None: one was, to the end
    lower_bound_s: float = 0.0  # see `estimate/lower_bound.py`
    loads: int = 0  # replicas that became ready; files of recorded answers are not counted
    loads_at_least: int = 0  # likewise, engines with something to do: fewer loads are not possible
    deaths: int = 0  # replicas that died
    rows: int = 0  # requests
    decision_us: list[float] = field(default_factory=list)  # microseconds of each decision, as measured on this machine

    @property
    def gpu_part_s(self) -> float:
        """Seconds until no GPU was needed any more."""
        return self.wall_clock_s if self.gpus_until_s is None else self.gpus_until_s

    @property
    def ratio(self) -> float:
        """Wall-clock time over lower bound."""
        return self.wall_clock_s / self.lower_bound_s if self.lower_bound_s else 1.0

    @property
    def decision_us_median(self) -> float:
        """Median of what a decision costs."""
        return statistics.median(self.decision_us) if self.decision_us else 0.0


def chance_of_deaths(world: World) -> np.random.Generator:
    """Random numbers for which replicas die, and when: apart from the lengths, which no policy changes."""
    return np.random.default_rng((world.seed, 1))


def _draw_lengths(plan: Plan, step_id: str, left: StepWork, world: World, chance: np.random.Generator) -> Lengths:
    step = plan.steps[step_id]
    mean = world.engines[step.engine].tokens_per_row[step_id]
    rows = plan.datasets[step.dataset].rows
    drawn = chance.lognormal(np.log(mean) - world.spread**2 / 2, world.spread, rows[-1] + 1)
    is_left = np.zeros(len(drawn))
    for slice_ in left.todo:
        is_left[slice_.rows] = 1.0
    return np.clip(drawn, 1, max(1, step.sampling.max_tokens)) * is_left * world.engines[step.engine].weight(step_id)


def uniform_nodes(num_nodes: int, node: Node) -> Iterator[tuple[float, Node]]:
    """So many equal nodes that are there from the beginning."""
    for number in range(num_nodes):
        yield 0.0, Node(f"node{number:04d}", f"node{number:04d}", node.total, node.gpu_memory_gb)

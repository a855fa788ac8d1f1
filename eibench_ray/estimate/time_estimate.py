"""Estimates the time that the rest of a plan takes on some nodes, from priors.

The wall-clock time is the shortest into which the work and its loads fit (`schedule/policy.py`), or the slowest row's
way where that is longer, times what a schedule loses. It is computed three times: as the configuration expects, and
with those priors off to either side. Where all speeds are measured, a small sweep is simulated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.estimate.critical_path import Leg
from eibench_ray.estimate.engine_profiles import describe_misfit, engine_profiles, expected_node, fits
from eibench_ray.estimate.fitted_time import EngineTime, FittedTime
from eibench_ray.estimate.measured_profiles import NOTHING_MEASURED, Measured
from eibench_ray.estimate.time_range import EXPECTED, HIGH, LOW, MEASURED, Assumption, Range
from eibench_ray.plan.graph import Plan, Step
from eibench_ray.plan.slices import StepWork
from eibench_ray.schedule.measured_engine import MeasuredEngine
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Resources, Unit, units_of

if TYPE_CHECKING:
    from eibench_ray.estimate.simulated_case import SimulationResult

# Sweeps of so few requests are simulated where all is measured: waves, tails and waits count in seconds there.
MOST_SIMULATED = 20_000
# What needs no GPU is told apart where it makes the whole so many times as long as what does.
WORTH_TELLING = 1.05


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """The estimate for the rest of a plan on some nodes.

    Attributes:
        misfits: why an engine fits on no node, by its key; neither it nor what reads from it is computed.
    """

    nodes: tuple[Node, ...]  # equal ones
    unit: Unit  # what replicas compute on
    wall_clock_s: Range  # from the start to the last verdict
    until_free_s: Range  # from the start until no unit is needed any more: what is left then, endpoints do
    used_s: Range  # unit-seconds in which replicas load or work
    engines: Mapping[str, EngineTime]  # by key; those with something to do, as far as they fit
    path: tuple[Leg, ...]  # the chain of loads and steps that takes longest
    misfits: Mapping[str, str]
    price: float | None  # of one unit's hour; None: not known
    measured: Mapping[str, MeasuredEngine] = field(default_factory=dict)  # by key, where a run has measured the engine

    @property
    def num_units(self) -> float:
        """GPUs, or cores, of all nodes."""
        return sum(units_of(node.total, self.unit) for node in self.nodes)

    @property
    def path_s(self) -> float:
        """Seconds of the critical path."""
        return sum(leg.seconds for leg in self.path)

    @property
    def held_s(self) -> Range:
        """Unit-seconds of all nodes, kept until none is needed any more."""
        return self.until_free_s.times(self.num_units)

    @property
    def is_freed(self) -> bool:
        """Whether work is left that is worth a word once no unit is needed any more."""
        return self.wall_clock_s.expected > WORTH_TELLING * self.until_free_s.expected

    def cost(self, unit_s: Range) -> Range | None:
        """The cost of so many unit-seconds; None where no price is known."""
        return None if self.price is None else unit_s.times(self.price / 3600)


def estimate_time(
    plan: Plan,
    work: Mapping[str, StepWork],
    cluster: ClusterConfig,
    cores: int,
    measured: Measured | None = None,
    *,
    ram_gb: float = 0.0,
) -> tuple[TimeEstimate, ...]:
    """The estimates for the nodes that the configuration expects, and for twice as many.

    Where no engine owns a GPU, it is one, for this machine.

    Args:
        plan: the sweep.
        work: what is left of it.
        cluster: its cluster.
        cores: of this machine.
        measured: by earlier runs; None: the time is that of the engines alone, without a run's beginning and end.
        ram_gb: GB of this machine's RAM that replicas may take; 0: not known.
    """
    if any(spec.device == "cuda" or spec.num_gpus for spec in plan.engines.values()):
        num_nodes = cluster.expect.nodes
        names = [f"node{number}" for number in range(2 * num_nodes)]
        nodes = tuple(replace(expected_node(cluster), id=name, name=name) for name in names)
        once = estimate_on(plan, work, cluster, nodes[:num_nodes], "gpu", measured)
        return once, estimate_on(plan, work, cluster, nodes, "gpu", measured)
    here = Node("here", "this machine", Resources(cluster.num_cpus or cores, 0), ram_gb=ram_gb)
    return (estimate_on(plan, work, cluster, (here,), "core", measured),)


def estimate_on(
    plan: Plan,
    work: Mapping[str, StepWork],
    cluster: ClusterConfig,
    nodes: tuple[Node, ...],
    unit: Unit,
    measured: Measured | None = None,
) -> TimeEstimate:
    """The estimate for some equal nodes."""
    profiles = engine_profiles(plan, cluster, nodes, measured or NOTHING_MEASURED)
    rows = {step: todo for step, left in work.items() if (todo := left.num_rows - left.num_done)}
    needs = {key: profiles[key].need for key in dict.fromkeys(plan.steps[step].engine for step in rows)}
    misfits = {key: need for key, need in needs.items() if not fits(need, nodes)}
    steps = list(_steps_without(plan, rows, misfits))

    asked = {step.engine for step in steps}
    is_measured = bool(asked) and all(profiles[key].measured for key in asked)

    def compute(guess: Assumption) -> FittedTime:
        guessed = {key: _as_guessed(profiles[key], guess) for key in needs}
        return FittedTime(steps, rows, guessed, nodes, unit, MEASURED[guess].loss if is_measured else guess.loss)

    low, expected, high = compute(LOW), compute(EXPECTED), compute(HIGH)
    overhead_s = measured.overhead_s if measured and steps else 0.0
    scale = free_scale = 1.0
    if is_measured and not misfits and sum(rows.values()) <= MOST_SIMULATED:
        done = _simulate(plan, work, profiles, nodes)
        scale = done.wall_clock_s / expected.wall_clock_s
        # What units do is not off by as much as what an endpoint does when they are free.
        free_scale = done.gpu_part_s / expected.until_free_s if unit == "gpu" and expected.until_free_s else scale
    return TimeEstimate(
        nodes=nodes,
        unit=unit,
        wall_clock_s=Range(*(overhead_s + scale * one.wall_clock_s for one in (low, expected, high))),
        until_free_s=Range(*(overhead_s + free_scale * one.until_free_s for one in (low, expected, high))),
        used_s=Range(low.used_s, expected.used_s, high.used_s),
        engines=expected.engines,
        path=expected.critical_path,
        misfits={key: describe_misfit(plan.engines[key].name, need, nodes) for key, need in misfits.items()},
        price=cluster.price_per_gpu_hour if unit == "gpu" else None,
        measured={key: known for key in needs if (known := profiles[key].measured) is not None},
    )


def _simulate(
    plan: Plan, work: Mapping[str, StepWork], profiles: Mapping[str, EngineProfile], nodes: Sequence[Node]
) -> SimulationResult:
    """The simulated rest of the run, each reply of the length that it has on average."""
    from eibench_ray.estimate.simulated_case import Case, World
    from eibench_ray.estimate.simulator import Simulator

    case = Case.draw(plan, work, World([(0.0, node) for node in nodes], profiles, spread=0.0))
    return Simulator(case, profiles).run()


def _as_guessed(profile: EngineProfile, prior: Assumption) -> EngineProfile:
    guess = MEASURED[prior] if profile.measured else prior
    return replace(profile, tokens_per_s=profile.tokens_per_s * guess.speed, load_s=profile.load_s * guess.load)


def _steps_without(plan: Plan, rows: Mapping[str, int], engines: Mapping[str, Need]) -> Iterator[Step]:
    """The steps with rows left, without those of some engines and all that reads from them."""
    lost: set[str] = set()
    for step in plan.steps.values():
        if step.id in rows and (step.engine in engines or not lost.isdisjoint(step.inputs.values())):
            lost.add(step.id)
        elif step.id in rows:
            yield step

"""Estimates the time that the rest of a plan takes on some nodes, from priors. Pure: nothing is run or simulated.

The wall-clock time is the shortest into which the work and its loads fit (`schedule/policy.py`), or the slowest row's
way where that is longer, times what a schedule loses. It is computed three times: as the configuration expects, and
with those priors off to either side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.estimate.critical_path import Leg, StepPaths
from eibench_ray.estimate.engine_profiles import describe_misfit, engine_profiles, expected_node, fits
from eibench_ray.estimate.measured_profiles import NOTHING_MEASURED, Measured
from eibench_ray.plan.graph import Plan, Step
from eibench_ray.plan.slices import StepWork
from eibench_ray.schedule.measured_engine import MeasuredEngine
from eibench_ray.schedule.policy import Demand, choose_horizon, pile_up
from eibench_ray.schedule.remaining_work import WORTH_LOAD
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Resources

if TYPE_CHECKING:
    from eibench_ray.estimate.simulated_case import SimulationResult

Unit = Literal["gpu", "core"]


@dataclass(frozen=True, slots=True)
class Assumption:
    """Factors by which priors are off."""

    speed: float  # true tokens per second over expected ones; lengths of replies count in it
    load: float  # true seconds of a load over expected ones
    loss: float  # wall-clock time over the shortest time into which all of it fits


# The options' speeds are rooflines and the lengths of replies shares of what is allowed: right within a factor of 2.
# The loss: the paper's sweep, simulated on 2 to 512 GPUs, takes 1.0 to 1.3 times the time that all of it fits into.
LOW, EXPECTED, HIGH = Assumption(2.0, 1 / 1.5, 1.0), Assumption(1.0, 1.0, 1.1), Assumption(0.5, 1.5, 1.3)
# Where runs have measured all engines, what is left is how busy the machine is, and the last replies' lengths.
MEASURED = {
    LOW: Assumption(1.15, 1 / 1.15, 1.0),
    EXPECTED: Assumption(1.0, 1.0, 1.02),
    HIGH: Assumption(1 / 1.15, 1.3, 1.1),
}
# Sweeps of so few requests are simulated where all is measured: waves, tails and waits count in seconds there.
MOST_SIMULATED = 20_000

# What needs no GPU is told apart where it makes the whole so many times as long as what does.
WORTH_TELLING = 1.05
_LEAST_LEFT_S = 1.0  # what a run has left that has anything left
LEAST_OF_RATE = 0.2  # of its rate so far: slower than that, a run stands still, and will hardly stay so


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate and its error bar."""

    low: float
    expected: float
    high: float

    def times(self, factor: float) -> Range:
        """All three, multiplied."""
        return Range(self.low * factor, self.expected * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class EngineTime:
    """One engine with something to do."""

    replicas: int  # that would be loaded
    load_s: float  # of one replica
    work_s: float  # what one full replica takes for all of its rows


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
        return sum(_units(node.total, self.unit) for node in self.nodes)

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


def estimate_left(
    horizon_s: float, prior_share: float, rows_left: int, rate: float | None = None, last_rate: float | None = None
) -> Range | None:
    """The time that a run has left; None where it cannot be told.

    The horizon knows of loads and of what can be done at the same time, and as much of speeds as is measured; the rate
    of the rows is measured, whatever they are. Each counts as far as it is to be trusted.

    Args:
        horizon_s: the shortest time into which what is left fits; math.inf where none is known.
        prior_share: share of the work whose speed is a prior still; what is measured is off by the loss alone.
        rows_left: rows that are not finished.
        rate: rows per second since the first one; None: not known.
        last_rate: rows per second of late, which may be another: the time left is uncertain by as much.
    """
    guesses = (LOW, EXPECTED, HIGH)
    is_known = _LEAST_LEFT_S <= horizon_s < math.inf
    if not rate:
        # A load that takes longer than it should leaves nothing to go by.
        return Range(*(horizon_s * one.loss / one.speed**prior_share for one in guesses)) if is_known else None
    rates = (rate, max(last_rate or 0.0, LEAST_OF_RATE * rate))
    rows_s = (rows_left / max(rates) / HIGH.loss, rows_left / rate, rows_left / min(rates) * HIGH.loss)
    trust = 1.0 - prior_share if is_known else 0.0
    low, expected, high = (
        (horizon_s * one.loss) ** trust * own ** (1.0 - trust) if trust else own
        for one, own in zip(guesses, rows_s, strict=True)
    )
    # Where the two differ, the range is of both.
    return Range(min(low, rows_s[1]), expected, max(high, rows_s[1]))


def estimate_time(
    plan: Plan, work: Mapping[str, StepWork], cluster: ClusterConfig, cores: int, measured: Measured | None = None
) -> tuple[TimeEstimate, ...]:
    """The estimates for the nodes that the configuration expects, and for twice as many.

    Where no engine owns a GPU, it is one, for this machine.

    Args:
        plan: the sweep.
        work: what is left of it.
        cluster: its cluster.
        cores: of this machine.
        measured: by earlier runs; None: the time is that of the engines alone, without a run's beginning and end.
    """
    if any(spec.device == "cuda" or spec.num_gpus for spec in plan.engines.values()):
        num_nodes = cluster.expect.nodes
        names = [f"node{number}" for number in range(2 * num_nodes)]
        nodes = tuple(replace(expected_node(cluster), id=name, name=name) for name in names)
        once = estimate_on(plan, work, cluster, nodes[:num_nodes], "gpu", measured)
        return once, estimate_on(plan, work, cluster, nodes, "gpu", measured)
    here = Node("here", "this machine", Resources(cluster.num_cpus or cores, 0))
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

    def compute(guess: Assumption) -> _Computation:
        guessed = {key: _as_guessed(profiles[key], guess) for key in needs}
        return _Computation(steps, rows, guessed, nodes, unit, MEASURED[guess].loss if is_measured else guess.loss)

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


class _Computation:
    """One guess, worked out."""

    def __init__(
        self,
        steps: Sequence[Step],
        rows: Mapping[str, int],
        profiles: Mapping[str, EngineProfile],
        nodes: Sequence[Node],
        unit: Unit,
        loss: float,
    ) -> None:
        self._loss = loss
        self._ways = ways = StepPaths(steps, rows, profiles)
        num_units = sum(_units(node.total, unit) for node in nodes)
        steps_of: dict[str, list[str]] = {}
        for step in steps:
            steps_of.setdefault(step.engine, []).append(step.id)
        demands = {
            key: Demand(
                work=pile_up((ways.heads_s[step], ways.work_s[step]) for step in own),
                load_s=profiles[key].load_s,
                gpus=sum(_units(bundle, unit) for bundle in profiles[key].need.bundles),
                tail_s=min(ways.tails_s[step] for step in own),
                most=_most(profiles[key], nodes),
                worth_s=WORTH_LOAD * profiles[key].load_s,
            )
            for key, own in steps_of.items()
        }
        shortest_s = choose_horizon(list(demands.values()), num_units, stretch=1.0)
        self.horizon_s = max(shortest_s, ways.longest_s) if demands else 0.0  # the shortest time that it takes
        self._owned_s = self.horizon_s  # likewise, of what replicas with units do and read
        if unit == "gpu" and not all(demand.gpus for demand in demands.values()):
            self._owned_s = self._find_owned_s(steps, demands, num_units)
        self.engines = {
            key: EngineTime(
                int(demand.num_new(self._owned_s if demand.gpus else self.horizon_s)), demand.load_s, demand.work_s
            )
            for key, demand in demands.items()
        }
        self.used_s = 0.0  # unit-seconds in which replicas load or work
        for key, engine in self.engines.items():
            # A batch that is not full takes as long as its longest row.
            busy_s = max(engine.work_s, max(ways.latency_s[step] for step in steps_of[key]))
            self.used_s += demands[key].gpus * (busy_s + engine.replicas * engine.load_s)

    def _find_owned_s(self, steps: Sequence[Step], demands: Mapping[str, Demand], num_units: float) -> float:
        """The shortest time for the steps of engines with units, and for all that these read from."""
        own: set[str] = set()
        for step in reversed(steps):
            if step.id in own or demands[step.engine].gpus:
                own |= {step.id, *step.inputs.values()}
        engines = dict.fromkeys(step.engine for step in steps if step.id in own)
        # An engine without units that is read from does these rows first.
        works = [
            demands[key]
            if demands[key].gpus
            else replace(
                demands[key],
                work=pile_up(
                    (self._ways.heads_s[one.id], self._ways.work_s[one.id])
                    for one in steps
                    if one.engine == key and one.id in own
                ),
            )
            for key in engines
        ]
        longest_s = max((float(self._ways.ends_s[step.id].max()) for step in steps if step.id in own), default=0.0)
        return max(choose_horizon(works, num_units, stretch=1.0), longest_s) if works else 0.0

    @property
    def wall_clock_s(self) -> float:
        """The time that it is expected to take, with what a schedule loses."""
        return self.horizon_s * self._loss

    @property
    def until_free_s(self) -> float:
        """Likewise, until no unit is needed any more."""
        return self._owned_s * self._loss

    @property
    def critical_path(self) -> tuple[Leg, ...]:
        """The chain that takes longest."""
        return self._ways.critical_path({key: engine.replicas for key, engine in self.engines.items()})


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


def _most(profile: EngineProfile, nodes: Sequence[Node]) -> float:
    """Replicas of an engine that find room at the same time if the nodes, which are equal, were empty."""
    if not profile.need.bundles:
        return 1
    bundle, total = profile.need.bundles[0], nodes[0].total
    rooms = [total.cpus // bundle.cpus] + ([total.gpus // bundle.gpus] if bundle.gpus else [])
    places = len(nodes) * min(rooms) // len(profile.need.bundles)
    return min(places, profile.most)


def _units(resources: Resources, unit: Unit) -> float:
    return resources.gpus if unit == "gpu" else resources.cpus

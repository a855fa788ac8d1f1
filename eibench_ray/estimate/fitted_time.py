"""The shortest time into which the steps of a plan and their loads fit, under one guess of all speeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eibench_ray.estimate.critical_path import Leg, StepPaths
from eibench_ray.plan.graph import Step
from eibench_ray.schedule.policy import Demand, choose_horizon, pile_up
from eibench_ray.schedule.remaining_work import WORTH_LOAD
from eibench_ray.schedule.resources import EngineProfile, Node, Unit, units_of


@dataclass(frozen=True, slots=True)
class EngineTime:
    """One engine with something to do."""

    replicas: int  # that would be loaded
    load_s: float  # of one replica
    work_s: float  # what one full replica takes for all of its rows


class FittedTime:
    """The time that steps and loads fit into, the copies of each engine, and what they use."""

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
        num_units = sum(units_of(node.total, unit) for node in nodes)
        steps_of: dict[str, list[str]] = {}
        for step in steps:
            steps_of.setdefault(step.engine, []).append(step.id)
        demands = {
            key: Demand(
                work=pile_up((ways.heads_s[step], ways.work_s[step]) for step in own),
                load_s=profiles[key].load_s,
                units=profiles[key].need.units(unit),
                tail_s=min(ways.tails_s[step] for step in own),
                most=_most(profiles[key], nodes),
                worth_s=WORTH_LOAD * profiles[key].load_s,
            )
            for key, own in steps_of.items()
        }
        shortest_s = choose_horizon(list(demands.values()), num_units, stretch=1.0)
        self.horizon_s = max(shortest_s, ways.longest_s) if demands else 0.0  # the shortest time that it takes
        self._owned_s = self.horizon_s  # likewise, of what replicas with units do and read
        if unit == "gpu" and not all(demand.units for demand in demands.values()):
            self._owned_s = self._find_owned_s(steps, demands, num_units)
        self.engines = {
            key: EngineTime(
                int(demand.num_new(self._owned_s if demand.units else self.horizon_s)), demand.load_s, demand.work_s
            )
            for key, demand in demands.items()
        }
        self.used_s = 0.0  # unit-seconds in which replicas load or work
        for key, engine in self.engines.items():
            # A batch that is not full takes as long as its longest row.
            busy_s = max(engine.work_s, max(ways.latency_s[step] for step in steps_of[key]))
            self.used_s += demands[key].units * (busy_s + engine.replicas * engine.load_s)

    def _find_owned_s(self, steps: Sequence[Step], demands: Mapping[str, Demand], num_units: float) -> float:
        """The shortest time for the steps of engines with units, and for all that these read from."""
        own: set[str] = set()
        for step in reversed(steps):
            if step.id in own or demands[step.engine].units:
                own |= {step.id, *step.inputs.values()}
        engines = dict.fromkeys(step.engine for step in steps if step.id in own)
        # An engine without units that is read from does these rows first.
        works = [
            demands[key]
            if demands[key].units
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


def _most(profile: EngineProfile, nodes: Sequence[Node]) -> float:
    """Replicas of an engine that find room at the same time if the nodes, which are equal, were empty."""
    if not profile.need.bundles:
        return 1
    need, node = profile.need, nodes[0]
    bundle, total = need.bundles[0], node.total
    rooms = [total.cpus // bundle.cpus] + ([total.gpus // bundle.gpus] if bundle.gpus else [])
    if need.ram_gb and node.ram_gb:
        rooms.append(max(1, node.ram_gb // need.ram_gb))  # the first copy asks for none
    places = len(nodes) * min(rooms) // len(need.bundles)
    return min(places, profile.most)

"""A run of the scheduler under a clock of its own, on a cluster where everything goes wrong; watched at every step."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from graphs import Graph, dependants, plan_of, slices_of, sources_of, work_of

from eibench_ray.estimate.engine_profiles import fits
from eibench_ray.plan.slices import Slice
from eibench_ray.schedule.actions import Action, Feed, Start, Stop
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Resources
from eibench_ray.schedule.scheduler import Scheduler

LONG_S = 1e5  # after so long a silence, nothing will come any more


@dataclass(frozen=True)
class Troubles:
    """Troubles of a run.

    Attributes:
        deaths: replicas that die, at any point of their lives.
        returned: slices that come back unfinished.
        given_up: engines that are given up on the way.
        joining: nodes that join later; leaving: those that leave.
    """

    deaths: int = 0
    returned: int = 0
    given_up: int = 0
    joining: tuple[Node, ...] = ()
    leaving: int = 0


@dataclass(frozen=True)
class Case:
    """A sweep, what its engines need, and the cluster at the beginning."""

    graph: Graph
    num_rows: int
    profiles: Mapping[str, EngineProfile]
    nodes: tuple[Node, ...]
    seed: int
    troubles: Troubles = Troubles()

    @property
    def slices(self) -> list[Slice]:
        return slices_of(self.graph, self.num_rows)


@dataclass
class Replica:
    """A replica: what it was told, and what is true of it.

    Attributes:
        phase: `starting`, `ready`, or `leaving` (stopped or lost, and not gone).
        holds: on each node, from its start until it is gone.
    """

    engine: str
    holds: list[tuple[str, Resources]]
    phase: str = "starting"
    slices: set[Slice] = field(default_factory=set)


class Trial:
    """The driver's loop. Every step asserts what must be true of every run."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.chance = random.Random(case.seed)
        self.nodes = {node.id: node for node in case.nodes}
        plan, work = plan_of(case.graph, case.num_rows), work_of(case.graph, case.num_rows)
        self.backlog = Backlog(plan, work)
        self.scheduler = Scheduler(self.backlog, case.profiles, case.nodes)
        self.replicas: dict[int, Replica] = {}
        self.finished: list[Slice] = []
        self.unfinishable: set[Slice] = set()
        self.candidates: set[Slice] = set()
        self.starts: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.returns: Counter[str] = Counter()
        self.actions: list[tuple[float, Action]] = []
        self.now = 0.0
        self.events: list[tuple[float, int, str, object]] = []
        self.ticks = itertools.count()

    def run(self) -> Trial:
        """The trial itself, when nothing is left to do."""
        self.plan_troubles()
        self.act()
        self.check_work_conserving()
        while not self.scheduler.is_done:
            if not self.events:
                self.wait_long()
                continue
            # The driver looks at the scheduler every few seconds, whether something has happened or not.
            pause_s = self.chance.uniform(1, 30)
            if self.now + pause_s < self.events[0][0]:
                self.now += pause_s
                self.act()
                continue
            self.now, _, kind, subject = heapq.heappop(self.events)
            is_review = getattr(self, f"happen_{kind}")(subject)
            self.act()
            if is_review:
                self.check_work_conserving()
        assert sorted(self.finished, key=str) == sorted(set(self.case.slices) - self.unfinishable, key=str)
        return self

    def wait_long(self) -> None:
        """Nothing is under way: if waiting does not help either, only what fits nowhere may be left."""
        self.now += LONG_S
        if self.act():
            return
        homeless = [key for key in self.left() if not self.has_home(key)]
        assert homeless, f"{self.left()} fit, have work, and nothing happens any more"
        self.give_up(homeless[0])
        self.act()

    def left(self) -> list[str]:
        """Engines with something to do."""
        return [key for key in self.case.profiles if self.backlog.rows_left(key)]

    def has_home(self, engine: str) -> bool:
        return fits(self.case.profiles[engine].need, self.nodes.values())

    # What the scheduler says.

    def act(self) -> bool:
        """Whether it said anything; it is asked until it is silent."""
        for turn in itertools.count():
            actions = self.scheduler.decide(self.now)
            if not actions:
                return turn > 0
            assert turn < 100, f"it goes on and on: {self.actions[-3:]}"
            for action in actions:
                self.actions.append((self.now, action))
                match action:
                    case Start():
                        self.start(action)
                    case Feed():
                        self.feed(action)
                    case Stop():
                        self.stop(action)
                self.check_room()
        raise AssertionError

    def start(self, start: Start) -> None:
        profile = self.case.profiles[start.engine]
        assert start.replica not in self.replicas
        assert len(start.nodes) == len(profile.need.bundles)
        for node, bundle in zip(start.nodes, profile.need.bundles, strict=True):
            memory_gb = self.nodes[node].gpu_memory_gb
            assert not bundle.gpus or not memory_gb or memory_gb >= profile.need.gpu_memory_gb
        self.replicas[start.replica] = Replica(
            start.engine, list(zip(start.nodes, profile.need.bundles, strict=True)), "starting"
        )
        copies = sum(
            replica.engine == start.engine and replica.phase != "leaving" for replica in self.replicas.values()
        )
        assert copies <= (profile.max_replicas or len(self.case.slices))
        self.starts[start.engine] += 1
        self.soon("ready", start.replica, self.chance.choice([0.5, 1, 2]) * profile.load_s)

    def feed(self, feed: Feed) -> None:
        replica = self.replicas[feed.replica]
        assert replica.phase == "ready"
        assert not (replica.slices & self.candidates), "a candidate is not alone"
        assert feed.is_probe == bool(set(feed.slices) & self.candidates)
        if feed.is_probe:
            assert not replica.slices, "a candidate is not alone"
            assert len(feed.slices) == 1
            key = replica.engine
            assert self.backlog.num_ready(key) == self.backlog.num_probes(key), "a candidate does not come last"
        held = {slice_ for other in self.replicas.values() for slice_ in other.slices}
        for slice_ in feed.slices:
            assert self.case.graph[slice_.step][0] == replica.engine
            assert slice_ not in held, "a slice is with two replicas"
            assert slice_ not in self.finished, "a slice is asked twice"
            assert all(source in self.finished for source in sources_of(self.case.graph, slice_, self.case.slices))
            replica.slices.add(slice_)
            held.add(slice_)
            self.soon("end", (feed.replica, slice_), slice_.num_rows * self.chance.uniform(0.1, 5))

    def stop(self, stop: Stop) -> None:
        replica = self.replicas[stop.replica]
        is_needless = replica.phase == "starting" and not self.backlog.num_untaken(replica.engine)
        assert replica.phase == "ready" or is_needless, "a replica that is not ready was stopped"
        assert not replica.slices, "a replica with rows in flight was stopped"
        replica.phase = "leaving"
        self.soon("gone", stop.replica, self.chance.uniform(0, 10))

    # What happens; each says whether room has come free or something has begun to run.

    def happen_ready(self, number: int) -> bool:
        if (replica := self.replicas.get(number)) is None or replica.phase != "starting":
            return False  # it died meanwhile
        replica.phase = "ready"
        self.scheduler.replica_ready(number, self.case.profiles[replica.engine].capacity, self.now)
        return True

    def happen_end(self, subject: tuple[int, Slice]) -> bool:
        number, slice_ = subject
        replica = self.replicas.get(number)
        if replica is not None and slice_ in replica.slices and self.chance.random() < self.return_share:
            self.scheduler.slice_returned(number, slice_, self.now)
            self.returns[replica.engine] += 1
        else:
            # Also where the replica is lost or gone: what comes late changes nothing.
            self.scheduler.slice_finished(number, slice_, self.chance.randint(0, 90) * slice_.num_rows)
            if replica is not None and slice_ in replica.slices and slice_ not in self.unfinishable:
                self.finished.append(slice_)
        if replica is not None:
            replica.slices.discard(slice_)
        return False

    def happen_gone(self, number: int) -> bool:
        if number in self.replicas:
            assert self.replicas[number].phase == "leaving"
            del self.replicas[number]
        self.scheduler.replica_gone(number)
        return True

    def happen_death(self, _: None) -> bool:
        """One of the replicas dies, also one that is being stopped."""
        if not self.replicas:
            return False
        number = self.chance.choice(sorted(self.replicas))
        candidates = self.scheduler.replica_lost(number, self.now, is_blamed=self.chance.random() < 0.8)
        assert set(candidates) <= self.replicas[number].slices - self.candidates
        self.candidates |= set(candidates)
        self.lose(number)
        return False

    def happen_join(self, node: Node) -> bool:
        self.nodes[node.id] = node
        self.scheduler.add_node(node)
        return True

    def happen_leave(self, _: None) -> bool:
        if not self.nodes:
            return False
        node = self.chance.choice(sorted(self.nodes))
        del self.nodes[node]
        lost = self.scheduler.remove_node(node)
        there = {number for number, replica in self.replicas.items() if any(node == on for on, _ in replica.holds)}
        assert set(lost) == there
        for number in lost:
            self.lose(number)
        return False

    def happen_give_up(self, _: None) -> bool:
        if left := self.left():
            self.give_up(self.chance.choice(left))
        return False

    @property
    def return_share(self) -> float:
        return 0.0 if len(self.actions) > 200 else self.case.troubles.returned / 10

    def lose(self, number: int) -> None:
        replica = self.replicas[number]
        self.losses[replica.engine] += 1
        replica.slices.clear()
        if replica.phase != "leaving":
            self.soon("gone", number, self.chance.uniform(0, 10))
        replica.phase = "leaving"

    def give_up(self, engine: str) -> None:
        left = set(self.case.slices) - set(self.finished) - self.unfinishable
        lost = dependants(self.case.graph, left, {slice_ for slice_ in left if self.engine_of(slice_) == engine})
        assert self.scheduler.give_up(engine) == {slice_.step for slice_ in lost}
        self.unfinishable |= lost

    def engine_of(self, slice_: Slice) -> str:
        return self.case.graph[slice_.step][0]

    def plan_troubles(self) -> None:
        troubles = self.case.troubles
        for node in troubles.joining:
            self.soon("join", node, self.chance.uniform(0, 200))
        for kind in ["death"] * troubles.deaths + ["leave"] * troubles.leaving + ["give_up"] * troubles.given_up:
            self.soon(kind, None, self.chance.uniform(0, 200))

    def soon(self, kind: str, subject: object, seconds: float) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.ticks), kind, subject))

    # What must be true.

    def free(self) -> dict[str, Resources]:
        """Free resources of each node, computed from what was started and what is gone."""
        free = {node.id: node.total for node in self.nodes.values()}
        for replica in self.replicas.values():
            for node, bundle in replica.holds:
                if node in free:
                    free[node] -= bundle
        return free

    def check_room(self) -> None:
        assert all(min(room.cpus, room.gpus) >= 0 for room in self.free().values()), "a node is oversubscribed"

    def check_work_conserving(self) -> None:
        """Checks that engines with rows and no replica have no room, but on a node that is held for a larger one."""
        served = {replica.engine for replica in self.replicas.values() if replica.phase != "leaving"}
        starved = [key for key in self.case.profiles if self.backlog.num_ready(key) and key not in served]
        for key in starved:
            rooms = self.rooms(self.case.profiles[key].need)
            assert rooms < max(1, len(starved)), f"{key} has work and room, and is not started"

    def rooms(self, need: Need) -> int:
        """On how many nodes a replica of one bundle has room."""
        if len(need.bundles) != 1:
            return 0 if need.bundles else 99
        (bundle,) = need.bundles
        return sum(
            room.covers(bundle) and not (bundle.gpus and 0 < self.nodes[name].gpu_memory_gb < need.gpu_memory_gb)
            for name, room in self.free().items()
        )

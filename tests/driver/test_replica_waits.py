"""Waits of a run's engines, as the driver tells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.failure_policy import FailurePolicy
from eibench_ray.driver.replica_waits import Rest, find_waits
from eibench_ray.rows.wait import Wait
from eibench_ray.schedule.resources import Need, Resources
from eibench_ray.worker.row_attempts import ReplicaCounts

CONFIG = ClusterConfig(name="local", start_timeout_s=1800.0, placement_timeout_s=600.0)


@dataclass
class Replica:
    engine: str = "llava"
    began_at: float = 0.0
    is_ready: bool = False
    placed_at: float | None = None
    doing: str = ""
    counts_so_far: ReplicaCounts = field(default_factory=ReplicaCounts)


def lines(states: Iterable[Replica] = (), rests: Mapping[str, Rest] = {}, given_up: str = "", now: float = 40.0) -> Any:
    failure_policy = FailurePolicy(CONFIG)
    failure_policy.fits_nowhere("homeless", 10.0)
    context: Any = SimpleNamespace(
        config=CONFIG,
        failure_policy=failure_policy,
        profiles={"llava": SimpleNamespace(need=Need((Resources(4, 2),) * 2))},
        counts=SimpleNamespace(has_work=lambda _: True),
        name=lambda engine: f"the {engine}",
        is_given_up=lambda engine: engine == given_up,
    )
    found = find_waits(context, states, rests, now)
    return [str(wait) for wait in found]


HOMELESS = "waiting: a node that has room for it for 30 s of 1800 s (the homeless)"


def test_a_replica_waits_for_its_place_then_for_its_weights_then_for_its_engine() -> None:
    assert lines([Replica()]) == [
        "waiting: a place with 4 GPUs and 8 cores for 40 s of 600 s (the llava)",
        HOMELESS,
    ]
    assert lines([Replica(placed_at=30.0, doing="fetching the weights of a/b (1.0 GB are here)")])[0] == (
        "waiting: fetching the weights of a/b (1.0 GB are here) for 10 s of 1800 s (the llava)"
    )
    assert lines([Replica(placed_at=30.0)])[0] == "waiting: the engine to load for 10 s of 1800 s (the llava)"


def test_a_replica_that_is_ready_waits_for_what_its_engine_says() -> None:
    counts_so_far = ReplicaCounts(waits=(Wait("connection refused by 127.0.0.1:1", 35.0, 1800.0),))
    line = "waiting: connection refused by 127.0.0.1:1 for 35 s of 1800 s (the llava)"
    assert lines([Replica(is_ready=True, counts_so_far=counts_so_far)])[0] == line


def test_an_engine_that_rests_says_after_what_and_one_that_starts_does_not() -> None:
    rests = {"llava": Rest("the replica's process died.", 38.0, 4.0)}
    line = "waiting: another start, after the replica's process died, for 2 s of 4 s (the llava)"
    assert lines(rests=rests) == [HOMELESS, line]
    assert lines(rests=rests, given_up="llava") == [HOMELESS]
    assert line not in lines([Replica()], rests=rests)

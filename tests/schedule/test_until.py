"""The scheduler when time is short: nothing begins that would not be answered in time."""

from __future__ import annotations

import math
from typing import Any

from graphs import CHAIN, Graph, plan_of, work_of

from eibench_ray.schedule.actions import Action, Feed, Start
from eibench_ray.schedule.backlog import Backlog
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Resources
from eibench_ray.schedule.scheduler import Scheduler

# A row takes 4 s in a full batch of four, a load 5 s.
GRAPH: Graph = {"answer": ("a", (), 2)}


def scheduler_until(until: float, graph: Graph = GRAPH, **known: Any) -> Scheduler:
    facts = {"load_s": 5.0, "tokens_per_s": 10.0, "capacity": 4, "max_replicas": 1} | known
    engines = {
        key: EngineProfile(
            key,
            Need((Resources(1, 1),)),
            **facts,
            tokens_per_row={step: 10.0 for step, (of, _, _) in graph.items() if of == key},
        )
        for key in dict.fromkeys(key for key, _, _ in graph.values())
    }
    nodes = (Node("n", "n", Resources(16, 1)),)
    return Scheduler(Backlog(plan_of(graph, 10), work_of(graph, 10)), engines, nodes, until=until)


def told(scheduler: Scheduler, now: float) -> list[Action]:
    said: list[Action] = []
    while more := scheduler.decide(now):
        said += more
    return said


def test_a_replica_is_started_only_if_it_would_answer_a_row_in_time() -> None:
    assert told(scheduler_until(9.0), 0.0) == [Start(1, "a", ("n",))]
    scheduler = scheduler_until(8.9)
    assert told(scheduler, 0.0) == []
    assert scheduler.is_out_of_time(0.0)


def test_a_replica_is_fed_as_long_as_a_row_would_be_answered_in_time() -> None:
    scheduler = scheduler_until(20.0)
    told(scheduler, 0.0)
    scheduler.replica_ready(1, 2, 5.0)
    (feed,) = told(scheduler, 16.0)
    assert isinstance(feed, Feed)
    assert not scheduler.is_out_of_time(17.0)  # what it has may end in time
    for slice_ in feed.slices:
        scheduler.slice_finished(1, slice_, 20)
    assert told(scheduler, 19.5) == []
    assert scheduler.is_out_of_time(19.5)
    assert not scheduler.is_done


def test_what_was_measured_decides_not_what_was_expected() -> None:
    scheduler = scheduler_until(30.0, graph={"answer": ("a", (), 2), "brief": ("b", (), 2)}, max_replicas=2)
    (start,) = (action for action in told(scheduler, 0.0) if isinstance(action, Start))
    scheduler.replica_ready(start.replica, 4, 24.0)  # it took 24 s, not 5
    scheduler.replica_lost(start.replica, 24.5)
    scheduler.replica_gone(start.replica)
    assert all(action.engine != start.engine for action in told(scheduler, 24.5) if isinstance(action, Start))


def test_while_something_starts_or_is_asked_time_is_not_over() -> None:
    scheduler = scheduler_until(9.0)
    told(scheduler, 0.0)
    assert not scheduler.is_out_of_time(8.0)


def test_what_waits_for_what_cannot_be_made_is_out_of_time_too() -> None:
    scheduler = scheduler_until(3.0, CHAIN)
    assert told(scheduler, 0.0) == []
    assert scheduler.is_out_of_time(0.0)


def test_without_an_end_there_is_always_time() -> None:
    assert not scheduler_until(math.inf).is_out_of_time(1e9)

"""Replicas that are killed as they make no progress, and those that are only too busy to tell. No Ray in here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver import watchdog
from eibench_ray.driver.watchdog import Watchdog
from eibench_ray.worker.row_attempts import ReplicaCounts


class Silent:
    """A replica that answers nobody how far it is."""

    id = 1

    async def counts_so_far(self) -> ReplicaCounts:
        await asyncio.sleep(3600)
        raise AssertionError


@dataclass
class Worker:
    handle: Silent = field(default_factory=Silent)
    counts_so_far: ReplicaCounts = field(default_factory=ReplicaCounts)
    slices: dict[int, None] = field(default_factory=lambda: {1: None})
    rows_reported: int = 0
    is_ready: bool = True


class Crew:
    """A replica set of one, which notes whom it loses."""

    def __init__(self, worker: Worker) -> None:
        self.ready = [worker]
        self.starting: list[Worker] = []
        self.lost: list[str] = []

    def tell_deadline(self, *_: object) -> None:
        return

    def lose(self, _: Worker, error: Exception) -> None:
        self.lost.append(str(error))
        self.ready = []


class Course:
    config = ClusterConfig(name="local", progress_timeout_s=9.0)


@pytest.mark.parametrize(("rows_per_look", "is_lost"), [(8, False), (0, True)])
def test_a_replica_that_answers_nothing_lives_as_long_as_slices_come_back(
    monkeypatch: pytest.MonkeyPatch, rows_per_look: int, is_lost: bool
) -> None:
    now = [0.0]
    monkeypatch.setattr(watchdog, "ANSWER_TIMEOUT_S", 0.0)
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now[0])
    worker = Worker()
    replica_set: Any = Crew(worker)

    async def look_often() -> None:
        watch = Watchdog(Course(), replica_set)  # type: ignore[arg-type]
        for _ in range(20):
            await watch.look()
            now[0] += 1.0
            worker.rows_reported += rows_per_look
        watch.close()

    asyncio.run(look_often())
    assert bool(replica_set.lost) is is_lost

"""The replicas of a run as Ray actors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.actor_handle import ActorHandle, result
from eibench_ray.driver.placement_group import Placement
from eibench_ray.errors import EibenchError
from eibench_ray.plan.graph import DatasetSpec, EngineSpec, Step
from eibench_ray.plan.slices import Slice
from eibench_ray.ratelimit.rate_limiter import RateLimiter
from eibench_ray.rows.completion import Retry
from eibench_ray.schedule.resources import Need
from eibench_ray.worker.probe import PoisonProbe
from eibench_ray.worker.replica import Replica, ReplicaFacts
from eibench_ray.worker.row_attempts import ReplicaCounts
from eibench_ray.worker.task import TaskReport

STOP_TIMEOUT_S = 10.0
# Made once: Ray sends a class again for every `ray.remote` of it.
_Actor = ray.remote(Replica)


@dataclass(frozen=True, slots=True)
class ReplicaFactory:
    """Starts replicas of a run from what all of them share."""

    config: ClusterConfig
    datasets: Mapping[str, DatasetSpec]
    store_root: str
    run_id: str
    limiter: RateLimiter | None = None  # lets the requests to endpoints through; None where the run has none
    retry: Retry = "errors"  # which error rows of earlier runs are asked again

    def reserve(self, replica_id: int, spec: EngineSpec, need: Need, nodes: tuple[str, ...]) -> ReplicaHandle:
        """A replica to be; its `place` asks for these resources."""
        mark = f"{self.run_id}.{replica_id}"
        placement = Placement(need, nodes, self.config.gpu_resource, f"eibench_ray {mark}")
        return ReplicaHandle(replica_id, spec, self.config, placement, mark, self)


@dataclass(slots=True)
class ReplicaHandle(ActorHandle[ReplicaFacts]):
    """One replica, from the driver's side: between its start and its end it is given tasks."""

    factory: ReplicaFactory

    def create(self, spec: EngineSpec, options: dict[str, Any]) -> Any:
        """The replica's actor."""
        factory = self.factory
        return _Actor.options(**options).remote(
            spec,
            factory.datasets,
            factory.store_root,
            factory.run_id,
            factory.config.row_timeout_s,
            str(Path.cwd()),
            factory.limiter,
            factory.retry,
            self.gpus,
        )

    async def run_task(self, step: Step, slice_: Slice, probe: PoisonProbe | None = None) -> TaskReport:
        """The report of a task; of a suspected slice, of one probe.

        Raises:
            EngineDeadError: the replica or its engine died.
            EibenchError: the task failed for another reason.
        """
        report: TaskReport = await result(self.actor.run_task.remote(step, slice_, probe))
        return report

    async def counts_so_far(self) -> ReplicaCounts:
        """Counts of the replica's work so far, whenever it answers.

        Raises:
            EibenchError: it does not any more.
        """
        counts_so_far: ReplicaCounts = await result(self.actor.counts_so_far.remote())
        return counts_so_far

    async def drain(self, grace_s: float) -> None:
        """Makes the replica's tasks commit what they have and return; one that does not answer is not waited for."""
        with contextlib.suppress(EibenchError, TimeoutError):
            await asyncio.wait_for(result(self.actor.drain.remote(grace_s)), STOP_TIMEOUT_S)

"""The replicas of a run as Ray actors: created, asked, stopped. What Ray raises ends here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from eibench_ray.cluster.replica import Replica, ReplicaFacts
from eibench_ray.cluster.task import TaskReport
from eibench_ray.config.schema import ClusterConfig, VllmEngine
from eibench_ray.engines.base import EngineDeadError
from eibench_ray.errors import ClusterError, EibenchError, EngineError
from eibench_ray.plan.graph import DatasetSpec, EngineSpec, Step
from eibench_ray.schedule.state import Resources
from eibench_ray.store.resume import Slice

STOP_TIMEOUT_S = 10.0
_GO_ON = "what was committed is kept, and the same command goes on from there"

_REPLICA_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}


def engine_need(spec: EngineSpec, config: ClusterConfig) -> Resources:
    """What one replica reserves; an engine that computes nothing reserves nothing."""
    if not isinstance(spec.config, VllmEngine):
        return Resources(cpus=0, gpus=0)
    return Resources(cpus=config.cpus_per_replica, gpus=spec.num_gpus)


def _environment(spec: EngineSpec, config: ClusterConfig) -> dict[str, str]:
    environment = dict(_REPLICA_ENVIRONMENT)
    if spec.device == "cpu":
        # One process less per engine: it starts in 15-22 s instead of 23-28 (docs/measurements.md).
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        environment["OMP_NUM_THREADS"] = str(config.cpus_per_replica)
    if isinstance(spec.config, VllmEngine):
        environment |= spec.config.env
    return environment


@dataclass(frozen=True, slots=True)
class ReplicaHandle:
    """One replica, from the driver's side."""

    id: int
    engine: str
    actor: Any

    async def start(self, timeout_s: float) -> ReplicaFacts:
        """Facts, once the engine is loaded.

        Raises:
            EngineError: it did not load, died while it loaded, or took too long.
        """
        try:
            facts: ReplicaFacts = await asyncio.wait_for(_result(self.actor.start.remote()), timeout_s)
        except TimeoutError:
            raise EngineError(
                f"the engine did not load within {timeout_s:g} s: raise cluster.start_timeout_s, or "
                f"choose a smaller model"
            ) from None
        return facts

    async def run_task(self, step: Step, slice_: Slice) -> TaskReport:
        """The report of a task.

        Raises:
            EngineDeadError: the replica or its engine died.
            EibenchError: the task failed for another reason.
        """
        report: TaskReport = await _result(self.actor.run_task.remote(step, slice_))
        return report

    async def tally(self) -> tuple[int, int]:
        """Rows and generated tokens so far; zeros where the replica does not answer at once."""
        with contextlib.suppress(EibenchError, TimeoutError):
            rows, tokens = await asyncio.wait_for(_result(self.actor.tally.remote()), 1.0)
            return int(rows), int(tokens)
        return 0, 0

    async def interrupt(self) -> None:
        """Makes the replica's tasks commit what they have and return; one that does not answer is not waited for."""
        with contextlib.suppress(EibenchError, TimeoutError):
            await asyncio.wait_for(_result(self.actor.interrupt.remote()), STOP_TIMEOUT_S)

    async def stop(self) -> None:
        """Ends the engine in order where it can, and the process in any case."""
        with contextlib.suppress(EibenchError, TimeoutError):
            await asyncio.wait_for(_result(self.actor.stop.remote()), STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """Ends the process; Ray reaps what it has started."""
        ray.kill(self.actor, no_restart=True)


def create_replica(
    replica_id: int,
    spec: EngineSpec,
    config: ClusterConfig,
    datasets: Mapping[str, DatasetSpec],
    store_root: str,
    run_id: str,
) -> ReplicaHandle:
    """A replica whose process starts as soon as its resources are free."""
    need = engine_need(spec, config)
    options = {
        "num_cpus": need.cpus,
        "num_gpus": need.gpus,
        "max_restarts": 0,
        "max_task_retries": 0,
        # Tasks, tallies and the interrupt run at the same time on the actor's event loop.
        "max_concurrency": 1000,
        "runtime_env": {"env_vars": _environment(spec, config)},
    }
    arguments = (spec, datasets, store_root, run_id, config.row_timeout_s, str(Path.cwd()))
    actor = ray.remote(Replica).options(**options).remote(*arguments)
    return ReplicaHandle(replica_id, spec.key, actor)


def check_node_alive() -> None:
    """Asks Ray whether this machine is still a part of it.

    Raises:
        ClusterError: it is not, or nobody answers.
    """
    try:
        own = ray.get_runtime_context().get_node_id()
        is_alive = any(node["Alive"] and node["NodeID"] == own for node in ray.nodes())
    except RayError as error:
        raise ClusterError(f"Ray does not answer any more ({' '.join(str(error).split())[:200]}): {_GO_ON}") from None
    if not is_alive:
        raise ClusterError(f"Ray's processes on this machine have died: {_GO_ON}")


async def _result(ref: Any) -> Any:
    """The value behind a Ray reference; Ray's errors as ours."""
    try:
        return await ref
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, EibenchError):
            raise cause from None
        raise EngineError(f"a replica failed: {type(cause).__name__}: {cause}") from error
    except RayActorError as error:
        raise EngineDeadError(f"the replica's process died: {' '.join(str(error).split())[:400]}") from None
    except RayError as error:
        raise EngineDeadError(f"Ray lost the replica: {' '.join(str(error).split())[:400]}") from None

"""The replicas of a run as Ray actors: placed, created, asked, stopped, reaped. What Ray raises ends here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, RuntimeEnvSetupError

from eibench_ray.cluster.ask import Tally
from eibench_ray.cluster.environment import check_python, replica_runtime_env, setup_failure
from eibench_ray.cluster.nodes import MARK, wait_until_gone
from eibench_ray.cluster.placement import Placement, reserve
from eibench_ray.cluster.replica import Replica, ReplicaFacts
from eibench_ray.cluster.task import TaskReport
from eibench_ray.config.schema import ClusterConfig, VllmEngine
from eibench_ray.endpoints.turnstile import Turnstile
from eibench_ray.engines.base import EngineDeadError
from eibench_ray.errors import EibenchError, EngineError
from eibench_ray.plan.graph import DatasetSpec, EngineSpec, Step
from eibench_ray.schedule.state import Need, Node
from eibench_ray.store.resume import Slice

STOP_TIMEOUT_S = 10.0
# Made once: Ray sends a class again for every `ray.remote` of it.
_Actor = ray.remote(Replica)


class NodeLostError(EngineDeadError):
    """A replica died because its node did."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What all replicas of a run have in common.

    Attributes:
        turnstile: lets the requests to endpoints through; None where the run has none.
    """

    config: ClusterConfig
    datasets: Mapping[str, DatasetSpec]
    store_root: str
    run_id: str
    turnstile: Turnstile | None = None

    def reserve(self, replica_id: int, spec: EngineSpec, need: Need, nodes: tuple[str, ...]) -> ReplicaHandle:
        """A replica whose resources have been asked for; `place` waits for them."""
        mark = f"{self.run_id}.{replica_id}"
        placement = reserve(need, nodes, self.config.gpu_resource, f"eibench_ray {mark}")
        return ReplicaHandle(replica_id, spec, self, placement, mark)


@dataclass(slots=True)
class ReplicaHandle:
    """One replica, from the driver's side: `place`, `start`, then tasks; at the end `stop` or `reap`, then `release`.

    Attributes:
        mark: what each of its processes has in its environment.
        actor: None until it is placed.
    """

    id: int
    spec: EngineSpec
    fleet: Fleet
    placement: Placement
    mark: str
    actor: Any = None
    facts: ReplicaFacts | None = field(default=None)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that it lies on, as far as they are known."""
        return self.placement.nodes or ((self.facts.node_id,) if self.facts else ())

    async def place(self, timeout_s: float, known: Sequence[Node]) -> None:
        """Returns once its resources are reserved.

        Raises:
            NotPlacedError: they are somebody else's.
        """
        await self.placement.wait(timeout_s, known)

    async def start(self, timeout_s: float) -> ReplicaFacts:
        """Facts, once the engine is loaded.

        Raises:
            EngineError: it did not load, died while it loaded, or took too long.
        """
        fleet = self.fleet
        await check_python(self.spec, self.placement.nodes)
        runtime_env = replica_runtime_env(self.spec, fleet.config, self.id)
        runtime_env["env_vars"] |= {MARK: self.mark}
        options = {
            "max_restarts": 0,
            "max_task_retries": 0,
            # Tasks, tallies and the interrupt run at the same time on the actor's event loop.
            "max_concurrency": 1000,
            "runtime_env": runtime_env,
        }
        spec = _with_executor(self.spec, len(self.placement.need.bundles))
        self.actor = _Actor.options(**options, **self.placement.options()).remote(
            spec,
            fleet.datasets,
            fleet.store_root,
            fleet.run_id,
            fleet.config.row_timeout_s,
            str(Path.cwd()),
            fleet.turnstile,
        )
        try:
            self.facts = await asyncio.wait_for(_result(self.actor.start.remote()), timeout_s)
        except TimeoutError:
            raise EngineError(
                f"the engine did not load within {timeout_s:g} s: raise cluster.start_timeout_s, or "
                f"choose a smaller model"
            ) from None
        assert self.facts is not None
        return self.facts

    async def run_task(self, step: Step, slice_: Slice) -> TaskReport:
        """The report of a task.

        Raises:
            EngineDeadError: the replica or its engine died.
            EibenchError: the task failed for another reason.
        """
        report: TaskReport = await _result(self.actor.run_task.remote(step, slice_))
        return report

    async def tally(self) -> Tally:
        """What it has done so far; nothing where the replica does not answer at once."""
        with contextlib.suppress(EibenchError, TimeoutError):
            tally: Tally = await asyncio.wait_for(_result(self.actor.tally.remote()), 1.0)
            return tally
        return Tally()

    async def interrupt(self) -> None:
        """Makes the replica's tasks commit what they have and return; one that does not answer is not waited for."""
        with contextlib.suppress(EibenchError, TimeoutError):
            await asyncio.wait_for(_result(self.actor.interrupt.remote()), STOP_TIMEOUT_S)

    async def stop(self, timeout_s: float) -> None:
        """Ends the engine in order where it can within the time, and then the rest."""
        with contextlib.suppress(EibenchError, TimeoutError):
            await asyncio.wait_for(_result(self.actor.stop.remote()), timeout_s)
        await self.reap()

    async def reap(self) -> None:
        """Ends the process, and returns once nothing of it is left on its nodes; not for ever."""
        self.kill()
        gpus = self.facts.gpus if self.facts else ()
        await asyncio.gather(*(wait_until_gone(node, self.mark, gpus) for node in dict.fromkeys(self.nodes)))

    def kill(self) -> None:
        """Ends the process, if there is one; Ray reaps what it has started."""
        if self.actor is not None and ray.is_initialized():
            ray.kill(self.actor, no_restart=True)

    def release(self) -> None:
        """Gives its resources back; whatever is still on them is ended by Ray. Waits for nothing."""
        self.kill()
        self.placement.remove()


def _with_executor(spec: EngineSpec, num_bundles: int) -> EngineSpec:
    """The spec, with how vLLM is to spread over several GPUs.

    Left alone, vLLM 0.32 takes Ray's executor wherever it finds itself in a placement group (config/parallel.py), and
    that wants bundles of one GPU. Within a node its own processes are as good and need nothing else.
    """
    if not isinstance(spec.config, VllmEngine) or spec.device != "cuda" or spec.num_gpus < 2:
        return spec
    args = {"distributed_executor_backend": "ray" if num_bundles > 1 else "mp"} | spec.config.args
    return replace(spec, config=spec.config.model_copy(update={"args": args}))


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
        if "its node has died" in str(error):
            raise NodeLostError("the replica's node has died") from None
        raise EngineDeadError(f"the replica's process died: {' '.join(str(error).split())[:400]}") from None
    except RuntimeEnvSetupError as error:
        raise setup_failure(error) from None
    except RayError as error:
        raise EngineDeadError(f"Ray lost the replica: {' '.join(str(error).split())[:400]}") from None

"""An actor that owns an engine, from the driver's side: placed, started, stopped, reaped. What Ray raises ends here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, RuntimeEnvSetupError

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.background_tasks import in_thread
from eibench_ray.driver.cluster_nodes import ask_node, wait_until_gone
from eibench_ray.driver.failure_reasons import StartTimeoutError, find_reason
from eibench_ray.driver.placement_group import Placement
from eibench_ray.driver.replica_environment import check_python, replica_runtime_env, setup_failure
from eibench_ray.engines.engine import EngineDeadError
from eibench_ray.engines.registry import kind_of, section_of
from eibench_ray.errors import EibenchError, EngineError
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.schedule.resources import Node
from eibench_ray.worker.last_lines import MARK, read_last_lines

log = logging.getLogger(__name__)

# Ray's control service answers within milliseconds; both are less than KILL_TIMEOUT_S of a replica set, so that the end
# is told.
RELEASE_TIMEOUT_S = 3.0
KILL_TIMEOUT_S = 2.0
# An actor that still starts says in time what it waits for, or not at all.
DOING_TIMEOUT_S = 3.0


class NodeLostError(EngineDeadError):
    """An actor died because its node did."""


class Facts(Protocol):
    """Facts that an actor reports once its engine is loaded: at least its node."""

    @property
    def node_id(self) -> str:
        """Ray's name of the node of its own process."""

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs that this process owns, by index or UUID."""


F = TypeVar("F", bound=Facts)


@dataclass(slots=True)
class ActorHandle(ABC, Generic[F]):
    """One actor: `place`, `start`, then what it is for; at the end `stop` or `reap`, then `release`."""

    id: int
    spec: EngineSpec
    config: ClusterConfig
    placement: Placement
    mark: str  # what each of its processes has in its environment
    actor: Any = field(default=None, init=False)  # None until it is started
    facts: F | None = field(default=None, init=False)
    gpus: Mapping[str, tuple[str, ...]] = field(default_factory=dict, init=False)  # those that it owns, by node

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that it lies on, as far as they are known."""
        return self.placement.nodes or ((self.facts.node_id,) if self.facts else ())

    @abstractmethod
    def create(self, spec: EngineSpec, options: dict[str, Any]) -> Any:
        """The actor, which has the methods `start`, `doing` and `stop`."""

    async def place(self, timeout_s: float, known: Sequence[Node]) -> None:
        """Returns once its resources are reserved.

        Raises:
            NotPlacedError: they are somebody else's.
        """
        await self.placement.wait(timeout_s, known)

    async def start(self) -> F:
        """Facts, once the engine is loaded.

        Raises:
            EngineError: it did not load, died while it loaded, or took too long.
        """
        timeout_s = self.config.start_timeout_s
        await check_python(self.spec, self.placement.nodes)
        runtime_env = replica_runtime_env(self.spec, self.config, self.id)
        runtime_env["env_vars"] |= {MARK: self.mark}
        options = {
            "max_restarts": 0,
            "max_task_retries": 0,
            # Tasks, counts and the interrupt run at the same time on the actor's event loop.
            "max_concurrency": 1000,
            "runtime_env": runtime_env,
        }
        # Before it loads: whoever dies meanwhile leaves memory behind, too.
        self.gpus = await self.placement.find_gpus()
        spec = _spread(self.spec, len(self.placement.need.bundles))
        try:
            async with asyncio.timeout(timeout_s):
                self.actor = await in_thread(timeout_s, self.create, spec, options | self.placement.options())
                self.facts = await result(self.actor.start.remote())
        except TimeoutError:
            raise StartTimeoutError(await self._explain_delay(timeout_s)) from None
        assert self.facts is not None
        return self.facts

    async def _explain_delay(self, timeout_s: float) -> str:
        """The reason for a start that takes too long, as far as its actor says."""
        if self.actor is None:
            return f"Ray has made no process for it within {timeout_s:g} s: raise cluster.start_timeout_s"
        doing = ""
        with contextlib.suppress(EibenchError, TimeoutError):
            doing = await asyncio.wait_for(self.doing(), DOING_TIMEOUT_S)
        if doing:
            remedy = "`eibench-ray prefetch` fetches before a run, or raise cluster.start_timeout_s"
            return f"it did not start within {timeout_s:g} s, {doing}: {remedy}"
        return (
            f"the engine did not load within {timeout_s:g} s: raise cluster.start_timeout_s, or choose a smaller model"
        )

    async def doing(self) -> str:
        """Waits of the start beside the engine's own load, once the actor answers; empty where there are none.

        Raises:
            EibenchError: it does not any more.
        """
        return str(await result(self.actor.doing.remote())) if self.actor is not None else ""

    async def end(self, timeout_s: float) -> bool:
        """Whether the engine has ended in order within the time; its process is still there."""
        with contextlib.suppress(EibenchError):
            try:
                await asyncio.wait_for(result(self.actor.stop.remote()), timeout_s)
            except TimeoutError:
                return False
        return True

    async def stop(self, timeout_s: float) -> None:
        """Ends the engine in order where it can within the time, and then the rest."""
        await self.end(timeout_s)
        await self.reap()

    async def reap(self) -> str:
        """Ends the process; what is left of it on its nodes: nothing, but for what does not go in time."""
        await self._kill()
        left = await asyncio.gather(
            *(wait_until_gone(node, self.mark, self._gpus_on(node)) for node in dict.fromkeys(self.nodes))
        )
        return "; ".join(filter(None, left))

    async def last_lines(self) -> str:
        """Last lines of the replica's process, without secrets; empty where its node is gone, or it wrote nothing."""
        for node in self.nodes or (ray.get_runtime_context().get_node_id(),):
            if text := await ask_node(node, read_last_lines, self.mark):
                return str(text)
        return ""

    def _gpus_on(self, node: str) -> tuple[str, ...]:
        """Its GPUs on a node, as their bundles said, or else its own process."""
        if node in self.gpus:
            return self.gpus[node]
        return self.facts.gpus if self.facts and self.facts.node_id == node else ()

    async def release(self) -> None:
        """Gives its resources back; whatever is still on them is ended by Ray."""
        await self._kill()
        try:
            await in_thread(RELEASE_TIMEOUT_S, self.placement.remove)
        except (TimeoutError, RayError):
            log.warning("Ray has not given back within %g s what %s held", RELEASE_TIMEOUT_S, self.mark)

    async def _kill(self) -> None:
        """Ends the process, if there is one; Ray reaps what it has started."""
        if self.actor is not None and ray.is_initialized():
            with contextlib.suppress(TimeoutError, RayError):
                await in_thread(KILL_TIMEOUT_S, ray.kill, self.actor, no_restart=True)


def _spread(spec: EngineSpec, num_bundles: int) -> EngineSpec:
    """The spec, with how its kind spreads a replica over several GPUs."""
    if spec.device != "cuda" or spec.num_gpus < 2:
        return spec
    return replace(spec, settings={**spec.settings, **kind_of(spec).spread(section_of(spec), num_bundles)})


async def result(ref: Any) -> Any:
    """The value behind a Ray reference; Ray's errors as ours.

    Raises:
        EngineDeadError: the actor's process died.
        EibenchError: what it raised.
    """
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
        raise EngineDeadError(f"the replica's process died: {find_reason(str(error))}") from None
    except RuntimeEnvSetupError as error:
        raise setup_failure(error) from None
    except RayError as error:
        raise EngineDeadError(f"Ray lost the replica: {find_reason(str(error))}") from None

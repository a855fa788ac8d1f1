"""Keeps one server up on a joined Ray cluster, until it is told to stop or the server has died too often."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.actor_handle import ActorHandle, result
from eibench_ray.driver.background_tasks import in_thread
from eibench_ray.driver.cluster_nodes import NodeWatch
from eibench_ray.driver.placement_group import FREE_TIMEOUT_S, Placement, free_resources
from eibench_ray.errors import ClusterError, EngineError
from eibench_ray.estimate.engine_profiles import describe_misfit, engine_need, fits
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.schedule.node_capacity import NodeCapacity
from eibench_ray.schedule.resources import Need, Node, Resources
from eibench_ray.serve.listen_address import ListenAddress
from eibench_ray.serve.server_actor import Server, ServerFacts
from eibench_ray.terminal.run_log import phase

log = logging.getLogger(__name__)

_Actor = ray.remote(Server)
# A replica's number names the folder of its compiled graphs. A sweep's replicas count from 0, ports begin at 1024.
_FREE_PORT_ID = 1 << 16


@dataclass(slots=True)
class ServerHandle(ActorHandle[ServerFacts]):
    """One server, from the command's side."""

    listening: ListenAddress

    def create(self, spec: EngineSpec, options: dict[str, Any]) -> Any:
        """The server's actor; once it was ready, with the port that it had."""
        listening = replace(self.listening, port=self.facts.port) if self.facts else self.listening
        return _Actor.options(**options).remote(spec, listening, str(Path.cwd()))

    async def watch(self) -> str:
        """Waits until the server does not serve any more, and returns the reason.

        Raises:
            EngineDeadError: its actor died.
        """
        reason: str = await result(self.actor.watch.remote())
        return reason


class ServerKeeper:
    """One server: placed once, started again where it dies.

    Args:
        announce: called whenever it is ready.
        complain: called with what happened, when it is to be started again.
    """

    def __init__(
        self,
        spec: EngineSpec,
        listening: ListenAddress,
        config: ClusterConfig,
        announce: Callable[[ServerFacts], None],
        complain: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._listening = listening
        self._config = config
        self._announce = announce
        self._complain = complain
        self._watch = NodeWatch(config)
        self._ready_at: float | None = None

    async def run(self) -> None:
        """Serves until it is cancelled, ends the server in order then, and returns; cancelled again, it ends at once.

        Raises:
            ClusterError: the server fits on no node, or its port is taken.
            EngineError: it does not start, or dies again and again.
        """
        nodes = (await self._watch.look()).joined
        handle = await self._reserve(nodes)
        try:
            await handle.place(self._config.placement_timeout_s, nodes)
            await self._keep_up(handle)
        except asyncio.CancelledError:
            log.info("serve stopping model=%s", self._spec.name)
        finally:
            try:
                if self._ready_at is not None:
                    await handle.stop(self._config.stop_timeout_s)
                else:  # one that loads has nobody to say goodbye to
                    await handle.reap()
            finally:
                await handle.release()

    async def _reserve(self, nodes: Sequence[Node]) -> ServerHandle:
        """A server to be, on a node that has room."""
        need = engine_need(self._spec, self._config, nodes)
        try:
            free = await in_thread(FREE_TIMEOUT_S, free_resources, self._config.gpu_resource)
        except TimeoutError:
            raise ClusterError(f"Ray has not said within {FREE_TIMEOUT_S:g} s what is free: try again") from None
        # What is bound to one address of this machine is no use on another one.
        home = None if self._listening.is_everywhere else ray.get_runtime_context().get_node_id()
        node = choose_node(self._spec.name, need, nodes, free, home)
        mark = f"serve.{secrets.token_hex(6)}"
        placement = Placement(need, (node,), self._config.gpu_resource, f"eibench_ray {mark}")
        number = self._listening.port or _FREE_PORT_ID
        return ServerHandle(number, self._spec, self._config, placement, mark, self._listening)

    async def _keep_up(self, handle: ServerHandle) -> None:
        """Starts the server, and again where it dies; returns never.

        Raises:
            ClusterLostError: Ray is gone.
            EngineError: it does not start, dies again and again, or died with its node.
        """
        restarts = RestartPolicy()
        while True:
            reason = await self._serve(handle)
            served_s = time.monotonic() - self._ready_at if self._ready_at is not None else 0.0
            self._ready_at = None
            pause_s = restarts.died(served_s)
            what = f"the server of {self._spec.name} died ({reason})"
            if pause_s is None:
                raise EngineError(f"{what}, for the {restarts.num_deaths}th time in a row: it is given up")
            await self._watch.look()
            if any(node not in self._watch.nodes for node in handle.nodes):
                raise EngineError(f"{what}: its node has left the cluster")
            self._complain(f"{what}: it is started again")
            await handle.reap()
            await asyncio.sleep(pause_s)

    async def _serve(self, handle: ServerHandle) -> str:
        """Keeps a server that was ready once, and returns the reason for its end.

        Raises:
            EngineError: it does not start, and never did.
        """
        try:
            with phase(f"loading {self._spec.name}", is_told_early=False):
                facts = await handle.start()
            self._ready_at = time.monotonic()
            self._announce(facts)
            return await handle.watch()
        except EngineError as error:
            if handle.facts is None:
                raise
            return str(error)


# Before the first, second and third start after a death.
PAUSES_S = (1.0, 5.0, 25.0)
# Who served for so long is forgiven what was before.
STEADY_S = 600.0


class RestartPolicy:
    """The deaths of a server, and what follows from them."""

    def __init__(self) -> None:
        self.num_deaths = 0

    def died(self, served_s: float) -> float | None:
        """Seconds to wait before it is started again, now that it served for so long; None: it has died too often."""
        self.num_deaths = 1 if served_s >= STEADY_S else self.num_deaths + 1
        return PAUSES_S[self.num_deaths - 1] if self.num_deaths <= len(PAUSES_S) else None


def choose_node(name: str, need: Need, nodes: Sequence[Node], free: Mapping[str, Resources], home: str | None) -> str:
    """The node for a server: one with room now, else one that is large enough.

    Args:
        name: the engine's, for the error.
        need: of its engine.
        nodes: of the cluster.
        free: what nobody has reserved, by node.
        home: the only node that will do; None: any.

    Raises:
        ClusterError: it fits on none.
    """
    allowed = [node for node in nodes if home in (None, node.id)]
    if len(need.bundles) > 1 or not fits(need, allowed):
        elsewhere = "take another node with --host 0.0.0.0, " if home and fits(need, nodes) else ""
        raise ClusterError(
            f"{describe_misfit(name, need, allowed)}; a server lies on one node: {elsewhere}"
            f"lower model.engine.tensor_parallel, or join a larger node"
        )
    now = NodeCapacity()
    for node in allowed:
        now.add(replace(node, total=free.get(node.id, Resources(0, 0))))
    larger = NodeCapacity()
    for node in allowed:
        larger.add(node)
    found = now.find(need) or larger.find(need)
    assert found is not None
    return found[0]

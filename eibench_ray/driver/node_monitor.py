"""Nodes that join and leave while a run goes on, and engines that none of them can hold."""

from __future__ import annotations

import asyncio
import logging
import time

from eibench_ray.driver.cluster_nodes import NodeChanges
from eibench_ray.driver.replica_set import ReplicaSet
from eibench_ray.driver.run_context import RunContext
from eibench_ray.errors import ClusterError
from eibench_ray.estimate.engine_profiles import describe_misfit

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
_REMEDY = "lower model.engine.tensor_parallel or cluster.cpus_per_replica, or join a larger cluster"


class NodeMonitor:
    """Nodes of the cluster, as the run knows them."""

    def __init__(self, context: RunContext, replica_set: ReplicaSet) -> None:
        self._context = context
        self._replica_set = replica_set
        self._homeless: set[str] = set()

    def meet(self, changes: NodeChanges) -> None:
        """Takes in the nodes that are there at the beginning.

        Raises:
            ClusterError: an engine fits on none of them, and no more are expected.
        """
        self._apply(changes)
        if self._context.config.expect.nodes <= len(changes.joined):
            for engine in self._context.profiles:  # in the plan's order
                if engine in self._homeless and self._context.counts.has_work(engine):
                    raise ClusterError(f"{self._describe_misfit(engine)}: {_REMEDY}")

    async def follow(self) -> None:
        """Looks for changes every few seconds.

        Raises:
            ClusterLostError: Ray has died, here or as a whole: replicas could be asked for, and would never come.
        """
        while True:
            self._seek_homes()
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Takes in what has changed."""
        self._apply(await self._context.watch.look())

    def _apply(self, changes: NodeChanges) -> None:
        context = self._context
        if not changes.joined and not changes.left:
            return
        for node in changes.joined:
            context.scheduler.add_node(node)
            total = node.total
            context.ledger.write("node_joined", node=node.id, name=node.name, cpus=total.cpus, gpus=total.gpus)
        for name in changes.left:
            context.ledger.write("node_left", node=name)
            context.failure_policy.node_left(name)
            for replica in context.scheduler.remove_node(name):
                self._replica_set.take_out(replica, f"node {name} has left the cluster")
        places = context.scheduler.places
        fitting = {need: places.fits(need) for need in {profile.need for profile in context.profiles.values()}}
        self._homeless = {engine for engine, profile in context.profiles.items() if not fitting[profile.need]}
        for engine in context.profiles.keys() - self._homeless:
            context.failure_policy.fits(engine)
        context.jobs.wake()

    def _seek_homes(self) -> None:
        """Gives up engines that no node could hold for as long as an engine may take to start."""
        context = self._context
        for engine in self._homeless:
            if context.is_given_up(engine) or not context.counts.has_work(engine):
                continue
            is_new, is_enough = context.failure_policy.fits_nowhere(engine, time.monotonic())
            misfit = self._describe_misfit(engine)
            if is_new:
                log.warning("%s: waiting for a node that can hold it", misfit)
            if is_enough:
                waited_s = context.config.start_timeout_s
                self._replica_set.give_up(engine, f"{misfit}; none joined in {waited_s:g} s: {_REMEDY}")

    def _describe_misfit(self, engine: str) -> str:
        nodes = list(self._context.watch.nodes.values())
        return describe_misfit(self._context.name(engine), self._context.profiles[engine].need, nodes)

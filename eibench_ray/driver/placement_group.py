"""The resources of a replica as a Ray placement group: asked for with a deadline, and always given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._private.state import available_resources_per_node
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from eibench_ray.driver.background_tasks import in_thread
from eibench_ray.errors import EngineError
from eibench_ray.schedule.resources import Need, Node, Resources

log = logging.getLogger(__name__)

# The label that Ray gives each node: a bundle that selects it lies there and nowhere else.
NODE_LABEL = "ray.io/node-id"
# How long Ray may take to say what is free, for the message that says why there is no place.
FREE_TIMEOUT_S = 20.0
# How long a task in each bundle may take to say which GPUs it has; a process has to start for it.
GPUS_TIMEOUT_S = 60.0


class NotPlacedError(EngineError):
    """The resources that a replica was promised are somebody else's."""


@dataclass(slots=True)
class Placement:
    """Resources that one replica reserves: a bundle per node, each where the scheduler wants it.

    Ray's control service is asked in a thread of its own: without it, Ray waits for ever.

    Attributes:
        group: None until it is asked for, and where nothing is reserved.
    """

    need: Need
    nodes: tuple[str, ...]
    gpu_resource: str
    name: str
    group: PlacementGroup | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)

    async def wait(self, timeout_s: float, known: Sequence[Node]) -> None:
        """Asks for everything, and returns once it is reserved.

        Raises:
            NotPlacedError: it was not within the time, with the node where something is missing.
        """
        if not self.need.bundles:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await (await in_thread(timeout_s, self._ask))
        except TimeoutError:
            raise NotPlacedError(self._describe(timeout_s, await self._free(), known)) from None
        except RayError as error:
            raise NotPlacedError(f"Ray reserved nothing: {' '.join(str(error).split())[:200]}") from None

    def _ask(self) -> Any:
        """A reference to what is there once everything is reserved."""
        parts, where = self._bundles()
        group = placement_group(
            [_bundle(part, self.gpu_resource) for part in parts],
            strategy="PACK",
            name=self.name,
            bundle_label_selector=[{NODE_LABEL: node} for node in where],
        )
        self.group = group
        if self._is_over:  # nobody waited so long, and Ray may be left by now
            self.remove()
            return None
        return group.ready()

    def _bundles(self) -> tuple[Sequence[Resources], Sequence[str]]:
        """Ray's bundles, and the node of each.

        Pipeline stages get a bundle per GPU: vLLM puts a worker into each (vllm/v1/executor/ray_executor_v2.py).
        """
        if len(self.need.bundles) == 1:
            return self.need.bundles, self.nodes
        bundles: list[Resources] = []
        where: list[str] = []
        for stage, node in zip(self.need.bundles, self.nodes, strict=True):
            cpus = [stage.cpus] + [0.0] * (int(stage.gpus) - 1)
            bundles += [Resources(share, 1) for share in cpus]
            where += [node] * len(cpus)
        return bundles, where

    async def _free(self) -> dict[str, Resources] | None:
        """Unreserved resources, by node; None where Ray does not say."""
        try:
            return await in_thread(FREE_TIMEOUT_S, free_resources, self.gpu_resource)
        except (TimeoutError, RayError):
            return None

    def options(self) -> dict[str, Any]:
        """Ray's options for the replica's actor, which takes its share of the first bundle."""
        stages = self.need.bundles
        actor = stages[0] if stages else Resources(0, 0)
        if len(stages) > 1:
            actor = Resources(actor.cpus, 0)  # the GPUs are its workers'
        options: dict[str, Any] = {"num_cpus": actor.cpus, "num_gpus": 0}
        if self.gpu_resource == "GPU":
            options["num_gpus"] = actor.gpus
        elif actor.gpus:
            options["resources"] = {self.gpu_resource: actor.gpus}
        if self.group is not None:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(self.group, 0)
        elif not stages:
            # Ray puts what needs nothing on any node, which could not leave then, or would take it along. The driver's
            # stays as long as the run. Not soft: without resources, Ray 2.60 takes a soft one for none at all.
            here = ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=False)
        return options

    async def find_gpus(self) -> dict[str, tuple[str, ...]]:
        """The GPUs that are reserved, by node; only what Ray says in time.

        A task in each bundle says which are its own. An actor knows those of its own bundle alone: of a pipeline's
        stages none, and none at all where it dies while it loads.
        """
        if self.group is None or self.gpu_resource != "GPU":
            return {}
        parts, where = self._bundles()
        asked = [(index, part.gpus, node) for index, (part, node) in enumerate(zip(parts, where, strict=True))]
        try:
            found = await in_thread(GPUS_TIMEOUT_S + 1.0, _ask_bundles, self.group, [each for each in asked if each[1]])
        except (TimeoutError, RayError) as error:
            log.warning("the GPUs of %s are not known (%s)", self.name, type(error).__name__)
            return {}
        gpus: dict[str, tuple[str, ...]] = {}
        for node, names in found:
            gpus[node] = (*gpus.get(node, ()), *names)
        return gpus

    def remove(self) -> None:
        """Gives everything back; whoever is still on it is ended by Ray."""
        self._is_over = True
        if self.group is not None and ray.is_initialized():
            remove_placement_group(self.group)

    def _describe(self, timeout_s: float, free: dict[str, Resources] | None, known: Sequence[Node]) -> str:
        names = {node.id: node.name for node in known}
        lacking = []
        for node in dict.fromkeys(self.nodes if free is not None else ()):
            parts = [bundle for bundle, where in zip(self.need.bundles, self.nodes, strict=True) if where == node]
            wanted = sum(parts, Resources(0, 0))
            has = free.get(node) if free else None
            if has is None:
                lacking.append(f"node {names.get(node, node)} has left")
            elif not has.covers(wanted):
                lacking.append(
                    f"it needs {wanted.gpus:g} GPUs and {wanted.cpus:g} cores on node {names.get(node, node)}, where "
                    f"{has.gpus:g} GPUs and {has.cpus:g} cores are free now"
                )
        if not lacking:
            return f"no place for a replica within {timeout_s:.3g} s: Ray did not answer in time"
        reason = "; ".join(lacking)
        return f"no place for a replica within {timeout_s:.3g} s: {reason}; another job on the cluster holds the rest"


def _ask_bundles(group: PlacementGroup, bundles: Sequence[tuple[int, float, str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Each bundle's node and GPUs."""
    task = ray.remote(_own_gpus)
    asked = [
        task.options(
            num_cpus=0,
            num_gpus=num_gpus,
            max_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, index),
        ).remote()
        for index, num_gpus, _ in bundles
    ]
    try:
        names = ray.get(asked, timeout=GPUS_TIMEOUT_S)
    except RayError:
        for ref in asked:
            ray.cancel(ref, force=True)
        raise
    return [(node, tuple(found)) for (_, _, node), found in zip(bundles, names, strict=True)]


def _own_gpus() -> list[str]:
    return [str(gpu) for gpu in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]


def _bundle(resources: Resources, gpu_resource: str) -> dict[str, float]:
    amounts = {"CPU": resources.cpus, gpu_resource: resources.gpus}
    return {name: amount for name, amount in amounts.items() if amount}


def free_resources(gpu_resource: str) -> dict[str, Resources]:
    """Unreserved resources, by node."""
    found = available_resources_per_node()
    return {node: Resources(has.get("CPU", 0.0), has.get(gpu_resource, 0.0)) for node, has in found.items()}

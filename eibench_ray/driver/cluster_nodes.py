"""The cluster's nodes: who is there, what each has, and what has become of a replica's processes on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil
import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.background_tasks import in_thread
from eibench_ray.driver.gpu_devices import find_device, list_devices, smallest_memory_gb
from eibench_ray.errors import ClusterLostError
from eibench_ray.schedule.resources import Node, Resources
from eibench_ray.weights.memory_estimate import GB
from eibench_ray.worker.last_lines import MARK

log = logging.getLogger(__name__)

# A task on a node starts within a second, on a slow machine or a network drive within some.
ASK_TIMEOUT_S = 30.0
# How long what a replica has started may outlive it before it is killed.
GRACE_S = 3.0
# How long its GPUs' memory may take to go: what is still there then is somebody else's.
GONE_TIMEOUT_S = 30.0
# How long its processes may: one that waits for a drive or a driver ends when that answers, and its place is no place.
STUCK_TIMEOUT_S = 300.0
# How long Ray may take to say which nodes there are, after it was restarted or under load; at most as long as to start.
LOOK_TIMEOUT_S = 90.0
GLANCE_EVERY_S = 0.1

_GPU_TYPE = "accelerator_type:"  # Ray's resource that names a node's GPUs
_PROCESSES = "processes"
_GO_ON = "what was committed is kept, and the same command goes on from there"


@dataclass(frozen=True, slots=True)
class NodeChanges:
    """Nodes that joined or left since the last look."""

    joined: tuple[Node, ...]
    left: tuple[str, ...]


class NodeWatch:
    """The cluster's nodes as they come and go."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._nodes: dict[str, Node] = {}
        self._look = asyncio.Lock()

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes of the last look, by id."""
        return self._nodes

    async def look(self) -> NodeChanges:
        """Nodes that joined or left since the last look.

        Raises:
            ClusterLostError: this machine is no part of the cluster any more, or nobody answers.
        """
        async with self._look:
            timeout_s = min(LOOK_TIMEOUT_S, self._config.start_timeout_s)
            try:
                found = await in_thread(timeout_s, read_nodes, self._config.gpu_resource)
            except TimeoutError:
                raise ClusterLostError(
                    f"Ray has not said within {timeout_s:g} s which nodes there are; its head may be dead: {_GO_ON}"
                ) from None
            left = tuple(name for name in self._nodes if name not in found)
            new = [node for name, node in found.items() if name not in self._nodes]
            joined = tuple(await asyncio.gather(*(self._measure(node) for node in new)))
            for name in left:
                del self._nodes[name]
            self._nodes |= {node.id: node for node in joined}
            return NodeChanges(joined, left)

    async def _measure(self, node: Node) -> Node:
        """The node with the memory of its GPUs: as configured, else as the node itself says."""
        if not node.total.gpus:
            return node
        if self._config.gpu_memory_gb is not None or self._config.gpu_resource != "GPU":
            return replace(node, gpu_memory_gb=self._config.gpu_memory_gb or 0.0)
        memory_gb = await ask_node(node.id, smallest_gpu_memory_gb)
        return replace(node, gpu_memory_gb=memory_gb or 0.0)


def read_nodes(gpu_resource: str) -> dict[str, Node]:
    """The nodes that are alive, by id.

    Raises:
        ClusterLostError: this machine's part of Ray has died, or nobody answers.
    """
    try:
        own = ray.get_runtime_context().get_node_id()
        alive = [node for node in ray.nodes() if node["Alive"]]
    except RayError as error:
        reason = " ".join(str(error).split())[:200]
        raise ClusterLostError(f"Ray does not answer any more ({reason}): {_GO_ON}") from None
    if all(node["NodeID"] != own for node in alive):
        raise ClusterLostError(f"Ray's processes on this machine have died: {_GO_ON}")
    return {node["NodeID"]: _node(node, gpu_resource) for node in alive}


def _node(node: Mapping[str, Any], gpu_resource: str) -> Node:
    has = node["Resources"]
    name = node["NodeManagerHostname"] or node["NodeManagerAddress"]
    gpus = sorted(key.removeprefix(_GPU_TYPE) for key in has if key.startswith(_GPU_TYPE))
    total = Resources(has.get("CPU", 0.0), has.get(gpu_resource, 0.0))
    return Node(node["NodeID"], name, total, gpu=", ".join(gpus), ram_gb=has.get("memory", 0.0) / GB)


async def wait_until_gone(node: str, mark: str, gpus: Sequence[str]) -> str:
    """Waits for a replica's processes and its GPUs' memory to go; returns what is left, at best nothing.

    Not for ever, and not on a dead node.

    Ray ends a replica's process and its children. Those that outlive that are killed: also a process that Ray was only
    about to start for it, which would stay as an idle worker.
    """
    began = time.monotonic()
    while True:
        waited_s = time.monotonic() - began
        left = await ask_node(node, find_remains, mark, tuple(gpus), waited_s > GRACE_S)
        if not left:
            return ""
        if waited_s > (STUCK_TIMEOUT_S if left.startswith(_PROCESSES) else GONE_TIMEOUT_S):
            log.warning("replica %s left something on node %s: %s", mark, node, left)
            return f"{left} on node {node}"
        await asyncio.sleep(GLANCE_EVERY_S)


async def ask_node(node: str, function: Any, *arguments: Any, timeout_s: float = ASK_TIMEOUT_S) -> Any:
    """Runs a function on a node without taking resources; None where the node does not answer."""
    with contextlib.suppress(RayError, TimeoutError):
        if node == ray.get_runtime_context().get_node_id():
            return await in_thread(timeout_s, function, *arguments)
        return await in_thread(timeout_s + 1.0, _ask_there, node, timeout_s, function, arguments)
    return None


def _ask_there(node: str, timeout_s: float, function: Any, arguments: tuple[Any, ...]) -> Any:
    """The answer of another node; Ray writes the function to its control service first, which may block."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    asked = task.remote(*arguments)
    try:
        return ray.get(asked, timeout=timeout_s)
    except GetTimeoutError:
        ray.cancel(asked, force=True)
        raise


def smallest_gpu_memory_gb() -> float:
    """GB of this machine's smallest GPU, or MIG device; 0 where its driver does not say."""
    return smallest_memory_gb(list_devices())


def find_remains(mark: str, gpus: Sequence[str], must_kill: bool) -> str:
    """Remains of a replica on this machine, in words: its processes, else its GPUs whose memory is not empty.

    Args:
        mark: of the replica.
        gpus: that it had, by index or UUID; MIG devices by UUID.
        must_kill: whether its processes are killed.
    """
    if processes := [process for process in psutil.process_iter() if _has_mark(process, mark)]:
        for process in processes if must_kill else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return f"{_PROCESSES} {', '.join(str(process.pid) for process in processes)}"
    full = _full_gpus(gpus) if gpus else []
    return f"memory of GPUs {', '.join(full)}" if full else ""


def _full_gpus(gpus: Sequence[str]) -> list[str]:
    devices = list_devices()
    found = {gpu: find_device(gpu, devices) for gpu in gpus}
    return [gpu for gpu, device in found.items() if device is not None and not device.is_empty]


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

"""Whether an engine fits into the memory of its GPUs."""

from __future__ import annotations

from dataclasses import dataclass

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.plan.graph import MemoryFit
from eibench_ray.schedule.resources import Node, Resources
from eibench_ray.weights.memory_estimate import MemoryEstimate

# Per GPU: vLLM's logs show 1 to 2 GB of activations and 0.1 to 1.6 GB of CUDA graphs, beside the CUDA context.
OVERHEAD_GB = 3.0
# Of a replica on cores, beside weights and KV cache (0.8 GB of the 3.9 GB that vLLM's three processes have of SmolLM2).
PROCESS_RAM_GB = 3.0


@dataclass(frozen=True, slots=True)
class GpuNodes:
    """The nodes that a replica may lie on, as far as their GPUs go."""

    nodes: tuple[Node, ...]  # those with GPUs; a memory of 0 is not known
    source: str  # whence that is known, in words


def expected_nodes(cluster: ClusterConfig) -> GpuNodes:
    """Nodes as the configuration expects them."""
    source = "cluster.expect" if cluster.gpu_memory_gb is None else "cluster.gpu_memory_gb"
    total = Resources(cluster.expect.cpus_per_node, max(1, cluster.expect.gpus_per_node))
    return GpuNodes((Node("", "", total, cluster.gpu_memory_gb or cluster.expect.gpu_memory_gb),), source)


def fit_memory(
    memory: MemoryEstimate,
    num_gpus: int,
    cluster: ClusterConfig,
    known: GpuNodes | None = None,
    *,
    max_model_len: int | None = None,
    weights_gb_per_gpu: float | None = None,
    kv_gb_per_gpu: float | None = None,
    share: float = 1.0,
) -> MemoryFit:
    """Memory that each GPU of a replica must have, against the largest there is.

    Args:
        memory: what the engine takes in all.
        num_gpus: those of a replica.
        cluster: the configuration.
        known: the run's nodes; None: as the configuration expects them.
        max_model_len: tokens of the longest sequence; None: not known.
        weights_gb_per_gpu: GB of weights on each GPU; None: all share them equally.
        kv_gb_per_gpu: GB of KV cache of each GPU; None: its share of the longest sequence's.
        share: of a GPU's memory that the engine uses.
    """
    known = known or expected_nodes(cluster)
    kv_gb = kv_cache_gb(memory, max_model_len)
    if kv_gb_per_gpu is None:
        kv_gb_per_gpu = (kv_gb or 0) / num_gpus
    if weights_gb_per_gpu is None:
        weights_gb_per_gpu = memory.weights_gb / num_gpus
    needed = weights_gb_per_gpu + kv_gb_per_gpu + OVERHEAD_GB
    return MemoryFit(
        weights_gb=weights_gb_per_gpu * num_gpus,
        kv_gb=kv_gb,
        gpu_memory_gb=needed / share,
        available_gb=max(gpu_memory_gb(node, cluster) for node in known.nodes),
        source=memory.source,
        gpus_from=known.source,
    )


def kv_cache_gb(memory: MemoryEstimate, max_model_len: int | None) -> float | None:
    """GB of KV cache of the longest sequence that an engine takes; None where that is not known."""
    if memory.kv_gb_per_token is None or max_model_len is None:
        return None
    return memory.kv_gb_per_token * max_model_len


def gpu_memory_gb(node: Node, cluster: ClusterConfig) -> float:
    """GB of each GPU of a node; as the configuration expects it where that is not known."""
    return node.gpu_memory_gb or cluster.gpu_memory_gb or cluster.expect.gpu_memory_gb

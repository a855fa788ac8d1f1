"""Whether an engine fits into the memory of its GPUs, and on how few of them it does. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.engines import TransformersSection, VllmSection
from eibench_ray.errors import PlanError
from eibench_ray.plan.graph import MemoryFit
from eibench_ray.schedule.resources import Node, Resources
from eibench_ray.weights.memory_estimate import GB, MemoryEstimate

# Per GPU: vLLM's logs show 1 to 2 GB of activations and 0.1 to 1.6 GB of CUDA graphs, beside the CUDA context.
OVERHEAD_GB = 3.0
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class GpuNodes:
    """The nodes that a replica may lie on, as far as their GPUs go.

    Attributes:
        nodes: those with GPUs; a memory of 0 is not known.
        source: whence that is known, in words.
    """

    nodes: tuple[Node, ...]
    source: str


def expected_nodes(cluster: ClusterConfig) -> GpuNodes:
    """Nodes as the configuration expects them."""
    source = "cluster.expect" if cluster.gpu_memory_gb is None else "cluster.gpu_memory_gb"
    total = Resources(cluster.expect.cpus_per_node, max(1, cluster.expect.gpus_per_node))
    return GpuNodes((Node("", "", total, cluster.gpu_memory_gb or cluster.expect.gpu_memory_gb),), source)


def choose_tensor_parallel(
    name: str, engine: VllmSection, memory: MemoryEstimate | None, cluster: ClusterConfig, known: GpuNodes | None = None
) -> int:
    """GPUs of one node that share an engine's layers, a power of two; 1 where its memory is not known.

    The fewest whose memory suffices. Where nodes differ: the number with which replicas can use the most GPUs, since no
    replica is placed where a GPU is too small for its share.

    Args:
        name: the model's, for the error.
        engine: with `tensor_parallel: auto`.
        memory: what it takes.
        cluster: the configuration.
        known: the run's nodes; None: as the configuration expects them.

    Raises:
        PlanError: all GPUs of a node together are too small.
    """
    if memory is None:
        return 1
    known = known or expected_nodes(cluster)
    most = max(node.total.gpus for node in known.nodes)
    usable: dict[int, int] = {}
    chosen = 1
    while chosen <= most:
        if _can_divide(memory, chosen):
            candidate = engine.model_copy(update={"tensor_parallel": chosen})
            needed_gb = fit_memory(candidate, memory, cluster, known).gpu_memory_gb
            nodes = [node for node in known.nodes if _memory_gb(node, cluster) >= needed_gb]
            usable[chosen] = sum(int(node.total.gpus) // chosen * chosen for node in nodes)
        chosen *= 2
    if best := max(usable.values(), default=0):
        return min(number for number, num_gpus in usable.items() if num_gpus == best)
    kv_gb = _kv_gb(engine, memory)
    cache = "" if kv_gb is None else f" and {kv_gb:.3g} GB of KV cache per {engine.max_model_len:,} tokens"
    largest = max(known.nodes, key=lambda node: node.total.gpus * _memory_gb(node, cluster))
    raise PlanError(
        f"model {name!r} with tensor_parallel=auto fits on no number of GPUs of one node: it has "
        f"{memory.weights_gb:.3g} GB of weights{cache}, and a node has {largest.total.gpus:g} GPUs of "
        f"{_memory_gb(largest, cluster):g} GB ({known.source}), of which "
        f"gpu_memory_utilization={engine.gpu_memory_utilization:g} is used and "
        f"{OVERHEAD_GB:g} GB each go to activations and CUDA graphs: lower model.engine.max_model_len, take a "
        f"quantised checkpoint, raise model.engine.pipeline_parallel (now {engine.pipeline_parallel}) to spread it "
        f"over nodes, or use larger GPUs (cluster.gpu_memory_gb, cluster.expect)"
    )


def fit_memory(
    engine: VllmSection | TransformersSection,
    memory: MemoryEstimate,
    cluster: ClusterConfig,
    known: GpuNodes | None = None,
) -> MemoryFit:
    """What each GPU of a replica must have, and what the largest has; `auto` is resolved before."""
    known = known or expected_nodes(cluster)
    kv_gb = _kv_gb(engine, memory)
    if isinstance(engine, VllmSection):
        assert engine.tensor_parallel != "auto"
        # vLLM keeps copies of the heads of keys and values on GPUs that are more than there are heads.
        kv_shares = min(engine.tensor_parallel, memory.num_kv_heads or 1) * engine.pipeline_parallel
        kv_per_gpu = max((kv_gb or 0) / kv_shares, (engine.kv_cache_gib or 0) * GIB / GB)
        share = engine.gpu_memory_utilization
    else:
        kv_per_gpu, share = (kv_gb or 0) / engine.num_gpus, 1.0
    needed = memory.weights_gb / engine.num_gpus + kv_per_gpu + OVERHEAD_GB
    return MemoryFit(
        weights_gb=memory.weights_gb,
        kv_gb=kv_gb,
        gpu_memory_gb=needed / share,
        available_gb=max(_memory_gb(node, cluster) for node in known.nodes),
        source=memory.source,
        gpus_from=known.source,
    )


def _kv_gb(engine: VllmSection | TransformersSection, memory: MemoryEstimate) -> float | None:
    """GB of KV cache of the longest sequence that the engine takes; None where that is not known."""
    if memory.kv_gb_per_token is None or engine.max_model_len is None:
        return None
    return memory.kv_gb_per_token * engine.max_model_len


def _memory_gb(node: Node, cluster: ClusterConfig) -> float:
    return node.gpu_memory_gb or cluster.gpu_memory_gb or cluster.expect.gpu_memory_gb


def _can_divide(memory: MemoryEstimate, tensor_parallel: int) -> bool:
    """Whether vLLM can share the heads out: it wants equal parts, or whole copies of the heads of keys and values."""
    heads, kv_heads = memory.num_heads, memory.num_kv_heads
    if heads is None or kv_heads is None:
        return True
    return heads % tensor_parallel == 0 and (kv_heads % tensor_parallel == 0 or tensor_parallel % kv_heads == 0)

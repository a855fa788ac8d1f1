"""Whether an engine fits into the memory of its GPUs, and on how few of them it does. Pure."""

from __future__ import annotations

from eibench_ray.checkpoints.memory import GB, MemoryEstimate
from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.engines import TransformersEngine, VllmEngine
from eibench_ray.errors import PlanError
from eibench_ray.plan.graph import MemoryFit

# Per GPU: vLLM's logs show 1 to 2 GB of activations and 0.1 to 1.6 GB of CUDA graphs, beside the CUDA context.
OVERHEAD_GB = 3.0
GIB = 1 << 30


def choose_tensor_parallel(name: str, engine: VllmEngine, memory: MemoryEstimate | None, cluster: ClusterConfig) -> int:
    """The fewest GPUs of one node that hold an engine, a power of two; 1 where its memory is not known.

    `name` is the model's, for the error.

    Raises:
        PlanError: all GPUs of a node together are too small.
    """
    if memory is None:
        return 1
    chosen = 1
    while chosen <= max(1, cluster.expect.gpus_per_node):
        candidate = engine.model_copy(update={"tensor_parallel": chosen})
        if _can_divide(memory, chosen) and fit_memory(candidate, memory, cluster).fits:
            return chosen
        chosen *= 2
    kv_gb = _kv_gb(engine, memory)
    cache = "" if kv_gb is None else f" and {kv_gb:.3g} GB of KV cache per {engine.max_model_len:,} tokens"
    raise PlanError(
        f"model {name!r} with tensor_parallel=auto fits on no number of GPUs of one node: it has "
        f"{memory.weights_gb:.3g} GB of weights{cache}, and a node has {cluster.expect.gpus_per_node} GPUs of "
        f"{_available_gb(cluster):g} GB, of which gpu_memory_utilization={engine.gpu_memory_utilization:g} is used and "
        f"{OVERHEAD_GB:g} GB each go to activations and CUDA graphs: lower model.engine.max_model_len, take a "
        f"quantised checkpoint, raise model.engine.pipeline_parallel (now {engine.pipeline_parallel}) to spread it "
        f"over nodes, or use larger GPUs (cluster.gpu_memory_gb, cluster.expect)"
    )


def fit_memory(engine: VllmEngine | TransformersEngine, memory: MemoryEstimate, cluster: ClusterConfig) -> MemoryFit:
    """What each GPU of a replica must have, and what it has; `auto` is resolved before."""
    kv_gb = _kv_gb(engine, memory)
    if isinstance(engine, VllmEngine):
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
        available_gb=_available_gb(cluster),
        source=memory.source,
    )


def _kv_gb(engine: VllmEngine | TransformersEngine, memory: MemoryEstimate) -> float | None:
    """GB of KV cache of the longest sequence that the engine takes; None where that is not known."""
    if memory.kv_gb_per_token is None or engine.max_model_len is None:
        return None
    return memory.kv_gb_per_token * engine.max_model_len


def _available_gb(cluster: ClusterConfig) -> float:
    return cluster.gpu_memory_gb or cluster.expect.gpu_memory_gb


def _can_divide(memory: MemoryEstimate, tensor_parallel: int) -> bool:
    """Whether vLLM can share the heads out: it wants equal parts, or whole copies of the heads of keys and values."""
    heads, kv_heads = memory.num_heads, memory.num_kv_heads
    if heads is None or kv_heads is None:
        return True
    return heads % tensor_parallel == 0 and (kv_heads % tensor_parallel == 0 or tensor_parallel % kv_heads == 0)

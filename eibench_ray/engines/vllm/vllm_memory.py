"""vLLM's share of its GPUs' memory, and the fewest GPUs that suffice. Pure."""

from __future__ import annotations

from eibench_ray.engines.engine_kind import Site
from eibench_ray.engines.engine_memory import (
    OVERHEAD_GB,
    PROCESS_RAM_GB,
    expected_nodes,
    fit_memory,
    gpu_memory_gb,
    kv_cache_gb,
)
from eibench_ray.engines.vllm.vllm_adapters import lora_arguments
from eibench_ray.engines.vllm.vllm_section import DEFAULT_NUM_SEQS, VllmSection
from eibench_ray.errors import PlanError
from eibench_ray.plan.graph import MemoryFit
from eibench_ray.weights.memory_estimate import GB, MemoryEstimate

GIB = 1 << 30
# Tokens of a short request (a judge's prompt and verdict) and of a small picture (576 for LLaVA-1.5), by which
# `max_num_seqs: auto` counts. It is a cap, and vLLM admits what its KV cache has room for: too high a number costs a
# preemption now and then, too low a one leaves the GPU idle.
_TOKENS_PER_REQUEST, _TOKENS_PER_PICTURE = 512, 512
# vLLM 0.32's own default on GPUs of 70 GiB (engine/arg_utils.py). With pictures fewer: a request in flight holds its
# own in the replica's memory, decoded.
_MOST_SEQS, _MOST_SEQS_WITH_PICTURES, _FEWEST_SEQS = 1024, 256, 64


def choose_tensor_parallel(engine: VllmSection, site: Site) -> int:
    """GPUs of one node that share an engine's layers, a power of two; as few as can be where its memory is not
    known.

    The fewest whose memory suffices. Where nodes differ: the number with which replicas can use the most GPUs, since no
    replica is placed where a GPU is too small for its share.

    Args:
        engine: with `tensor_parallel: auto`.
        site: where it would run.

    Raises:
        PlanError: all GPUs of a node together are too small.
    """
    memory, cluster = site.memory, site.cluster
    chosen = 2 if engine.expert_parallel and engine.data_parallel == 1 else 1
    if memory is None:
        return chosen
    known = site.nodes or expected_nodes(cluster)
    # Copies lie on the same node; the stages of one need not.
    times = 1 if engine.data_parallel == 1 else engine.data_parallel * engine.pipeline_parallel
    most = max(node.total.gpus for node in known.nodes)
    usable: dict[int, int] = {}
    while chosen * times <= most:
        if _can_divide(memory, chosen):
            candidate = engine.model_copy(update={"tensor_parallel": chosen})
            needed_gb = fit_vllm(candidate, site, memory).gpu_memory_gb
            nodes = [node for node in known.nodes if gpu_memory_gb(node, cluster) >= needed_gb]
            usable[chosen] = sum(int(node.total.gpus) // (chosen * times) * chosen * times for node in nodes)
        chosen *= 2
    if best := max(usable.values(), default=0):
        return min(number for number, num_gpus in usable.items() if num_gpus == best)
    kv_gb = kv_cache_gb(memory, engine.max_model_len)
    cache = "" if kv_gb is None else f" and {kv_gb:.3g} GB of KV cache per {engine.max_model_len:,} tokens"
    largest = max(known.nodes, key=lambda node: node.total.gpus * gpu_memory_gb(node, cluster))
    raise PlanError(
        f"model {site.model!r} with tensor_parallel=auto fits on no number of GPUs of one node: it has "
        f"{memory.weights_gb:.3g} GB of weights{cache}, and a node has {largest.total.gpus:g} GPUs of "
        f"{gpu_memory_gb(largest, cluster):g} GB ({known.source}), of which "
        f"gpu_memory_utilization={engine.gpu_memory_utilization:g} is used and "
        f"{OVERHEAD_GB:g} GB each go to activations and CUDA graphs: lower model.engine.max_model_len, take a "
        f"quantised checkpoint, raise model.engine.pipeline_parallel (now {engine.pipeline_parallel}) to spread it "
        f"over nodes, or use larger GPUs (cluster.gpu_memory_gb, cluster.expect)"
    )


def choose_num_seqs(engine: VllmSection, site: Site) -> int:
    """Requests in one batch of each copy, by the KV cache beside the weights; the default where that is not known.

    LLaMA-3-8B leaves 53 GB of 80, which are 404,000 tokens: 788 requests of 512.

    Args:
        engine: whose `tensor_parallel` is chosen.
        site: where it would run.
    """
    room = kv_cache_tokens(engine, site)
    if room is None:
        return DEFAULT_NUM_SEQS
    tokens = min(engine.max_model_len, _TOKENS_PER_REQUEST + site.most_images * _TOKENS_PER_PICTURE)
    most = _MOST_SEQS_WITH_PICTURES if site.most_images else _MOST_SEQS
    return max(_FEWEST_SEQS, min(most, room // tokens))


def kv_cache_tokens(engine: VllmSection, site: Site) -> int | None:
    """Tokens that the KV cache of each copy has room for; None where it is not known what one takes.

    Args:
        engine: whose `tensor_parallel` is chosen.
        site: where it would run.
    """
    memory = site.memory
    if memory is None or not memory.kv_gb_per_token:
        return None
    fit, shares = fit_vllm(engine, site, memory), _kv_shares(engine, memory)
    free_gb = (fit.available_gb - fit.gpu_memory_gb) * engine.gpu_memory_utilization + (fit.kv_gb or 0) / shares
    if engine.kv_cache_gib:
        free_gb = engine.kv_cache_gib * GIB / GB
    return int(free_gb / (memory.kv_gb_per_token / shares))


def fit_vllm(engine: VllmSection, site: Site, memory: MemoryEstimate) -> MemoryFit:
    """Memory that each GPU of a replica must have, against the largest; `tensor_parallel: auto` is chosen before."""
    assert engine.tensor_parallel != "auto"
    kv_shares = _kv_shares(engine, memory)
    kv_gb = kv_cache_gb(memory, engine.max_model_len) or 0
    # Copies have all layers but the experts' each.
    shared_gb = (memory.weights_gb - memory.experts_gb) / (engine.tensor_parallel * engine.pipeline_parallel)
    return fit_memory(
        memory,
        engine.num_gpus,
        site.cluster,
        site.nodes,
        weights_gb_per_gpu=shared_gb + memory.experts_gb / engine.num_gpus + _adapters_gb(engine, site, memory),
        max_model_len=engine.max_model_len,
        kv_gb_per_gpu=max(kv_gb / kv_shares, (engine.kv_cache_gib or 0) * GIB / GB),
        share=engine.gpu_memory_utilization,
    )


def find_ram_gb(engine: VllmSection, memory: MemoryEstimate) -> float:
    """GB of RAM that a replica on cores takes; 0 where vLLM gives its KV cache a share of what the node has."""
    if engine.kv_cache_gib is None:
        return 0.0
    return memory.weights_gb + engine.kv_cache_gib * GIB / GB + PROCESS_RAM_GB


def _kv_shares(engine: VllmSection, memory: MemoryEstimate) -> int:
    """Parts into which a copy's KV cache is cut: GPUs that are more than there are heads keep copies of them."""
    assert engine.tensor_parallel != "auto"
    return min(engine.tensor_parallel, memory.num_kv_heads or 1) * engine.pipeline_parallel


def _adapters_gb(engine: VllmSection, site: Site, memory: MemoryEstimate) -> float:
    """GB on each GPU for the adapters that are there at once, each with the room of the largest rank."""
    arguments = {**lora_arguments([adapter.rank for adapter in site.adapters], site.device), **engine.args}
    num, rank = arguments.get("max_loras", 0), arguments.get("max_lora_rank", 0)
    assert engine.tensor_parallel != "auto"
    # Of the two factors in each layer, tensor parallelism shares one, unless it is told to share both.
    shares = engine.tensor_parallel if arguments.get("fully_sharded_loras") else 2 / (1 + 1 / engine.tensor_parallel)
    return float(num * rank * memory.adapter_gb_per_rank / shares / engine.pipeline_parallel)


def _can_divide(memory: MemoryEstimate, tensor_parallel: int) -> bool:
    """Whether vLLM can share the heads out: it wants equal parts, or whole copies of the heads of keys and values."""
    heads, kv_heads = memory.num_heads, memory.num_kv_heads
    if heads is None or kv_heads is None:
        return True
    return heads % tensor_parallel == 0 and (kv_heads % tensor_parallel == 0 or tensor_parallel % kv_heads == 0)

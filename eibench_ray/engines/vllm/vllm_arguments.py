"""The arguments of a vLLM engine: the same for one in a replica and for one behind vLLM's own server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from eibench_ray.engines.chat_templates import template_file
from eibench_ray.engines.reasoning_parsers import find_parser
from eibench_ray.engines.vllm.vllm_adapters import lora_arguments
from eibench_ray.engines.vllm.vllm_kind import vllm_weights
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.weights.adapter_weights import LoadedAdapter
from eibench_ray.weights.node_weights import Weights

GIB = 1 << 30
CPU_BATCH_TOKENS = 16_384
# What prompts begin with is kept in whole blocks: those of vLLM's 128 tokens on CPUs are longer than what most prompts
# have in common. 32 is the least that its kernels are made for; 600 verdicts of SmolLM2 took 88 s instead of 115.
CPU_BLOCK_TOKENS = 32
COMPILING_WORKER = "eibench_ray.engines.vllm.compiling_worker.CompilingWorker"


def engine_arguments(
    config: VllmSection,
    device: Literal["cpu", "cuda"],
    weights: Weights | None = None,
    most_images: int = 0,
    adapters: Sequence[LoadedAdapter] = (),
) -> Mapping[str, Any]:
    """The arguments by the names that `AsyncEngineArgs` gives them; the chat template is none of them.

    Args:
        config: the engine.
        device: where it runs.
        weights: what it loads; None: as configured.
        most_images: of one request; 0: not known, or none.
        adapters: that requests name.
    """
    weights = weights or Weights(vllm_weights(config))
    parser = reasoning_parser(config, Path(weights.source))
    chosen: dict[str, Any] = {
        "model": weights.source,
        "revision": weights.revision,
        "dtype": config.dtype,
        "quantization": config.quantization,
        "trust_remote_code": config.trust_remote_code,
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.num_seqs,
        "tensor_parallel_size": config.tensor_parallel if device == "cuda" else 1,
        "pipeline_parallel_size": config.pipeline_parallel if device == "cuda" else 1,
        "data_parallel_size": config.data_parallel if device == "cuda" else 1,
        "enable_expert_parallel": config.expert_parallel and device == "cuda",
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "kv_cache_memory_bytes": int(config.kv_cache_gib * GIB) if config.kv_cache_gib else None,
        "enforce_eager": config.enforce_eager,
        "enable_prefix_caching": True,
        "seed": 0,
        # A model that knows no better fills a JSON reply with blanks up to its limit; the request's own option of
        # the same name is not read (vLLM 0.32), and the engine's is refused with the backend "auto".
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "disable_log_stats": True,
    }
    if parser is not None:
        # With a schema, vLLM's grammar then begins where the thinking ends.
        chosen["reasoning_parser"] = parser
    if not config.enforce_eager:
        chosen["worker_cls"] = COMPILING_WORKER
    if device == "cpu":
        # vLLM 0.32 dies on a CPU when a seeded request's prompt is computed in chunks ("CPU Generator does not use
        # offset"): prompts are computed whole there.
        chosen |= {
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(config.max_model_len, CPU_BATCH_TOKENS),
            "block_size": CPU_BLOCK_TOKENS,
        }
    if most_images:
        # vLLM keeps room for as many as a request may have: by default far more than any has. For a model of videos it
        # would try out the longest one at each start. Its pictures are prepared in one thread, whatever
        # renderer_num_workers says: that is for tokenizing (vLLM 0.32, renderers/base.py).
        chosen["limit_mm_per_prompt"] = {"image": most_images, "video": 0}
    lora = lora_arguments([one.adapter.rank for one in adapters], device)
    # On a CPU answers depend on how many there is room for, so it is not to be chosen.
    return chosen | config.args | lora if device == "cpu" else chosen | lora | config.args


def reasoning_parser(config: VllmSection, folder: Path) -> str | None:
    """The name of vLLM's parser of its thinking; None: it does not think, or nobody looks.

    Args:
        config: the engine.
        folder: of its checkpoint.
    """
    if config.reasoning != "auto":
        return None if config.reasoning == "none" else config.reasoning
    template = config.chat_template and template_file(config.chat_template).read_text(encoding="utf-8")
    return find_parser(folder, template)

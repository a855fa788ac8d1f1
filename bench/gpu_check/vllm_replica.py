"""Loads one vLLM engine as a replica would, asks it twice and prints what it took; vllm_checks.py starts it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.gpu_check.asked_engine import requests

# Of replicas that share a GPU: by a share of its memory, each would take what the other frees as it loads for its own.
_SHARED_KV_GIB = 8.0


async def measure(options: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of the load, and tokens per second of the second asking: the first warms up."""
    import torch

    from eibench_ray.engines.vllm.vllm_engine import VllmEngine
    from eibench_ray.engines.vllm.vllm_kind import KIND
    from eibench_ray.engines.vllm.vllm_section import VllmSection
    from eibench_ray.weights.build import build_checkpoint

    name, on_gpu = options["checkpoint"], torch.cuda.is_available()
    source = name if Path(name).is_dir() else f"checkpoint:{build_checkpoint(name) and name}"
    keys: dict[str, Any] = {"kind": "vllm", "source": source, "max_model_len": 512, "max_num_seqs": 64}
    if not on_gpu:
        keys |= {"kv_cache_gib": 0.1, "dtype": "float32"}
    elif options["shared_by"] > 1:
        keys |= {"kv_cache_gib": _SHARED_KV_GIB, "gpu_memory_utilization": 0.9 / options["shared_by"]}
    section = VllmSection.model_validate(keys | options["keys"])
    section = section.model_copy(update=dict(KIND.spread(section, 1)) if on_gpu else {})
    device: Any = "cuda" if on_gpu else "cpu"
    for variable, value in KIND.variables(section, device, 0).items():
        os.environ.setdefault(variable, value)
    engine = VllmEngine(section, device)
    began = time.perf_counter()
    await engine.start()
    loaded = time.perf_counter()
    asked = requests(1024 if on_gpu else 16, 64, sees=False)
    for _ in range(2):
        asking = time.perf_counter()
        replies = await asyncio.gather(*(engine.generate(*one) for one in asked))
        took_s = time.perf_counter() - asking
    step_tokens = engine._llm.vllm_config.scheduler_config.max_num_batched_tokens
    await engine.stop()
    tokens = sum(reply.completion_tokens for reply in replies)
    return {"load_s": round(loaded - began, 1), "tokens_per_s": round(tokens / took_s), "step_tokens": step_tokens}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(json.loads(sys.argv[1])))))

"""Asks vLLM how likely choices are, and for replies with log probabilities; prints them as JSON.

It runs as answer_with_vllm.py does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

from choices_asked import MODELS, asked_of, generated

from eibench_ray.engines.vllm.vllm_engine import VllmEngine
from eibench_ray.engines.vllm.vllm_section import VllmSection

ENGINE = {
    "kind": "vllm",
    "dtype": "float32",
    "max_model_len": 1024,
    "max_num_seqs": 8,
    "enforce_eager": True,
    "kv_cache_gib": 1 / 8,
}


async def ask() -> dict[str, Any]:
    """The replies of each model, twice; of the chat model also those that are generated."""
    answers: dict[str, Any] = {}
    for name, keys in MODELS.items():
        engine = VllmEngine(VllmSection.model_validate(ENGINE | keys), "cpu", most_images=1)
        await engine.start()
        for time in ("first", "again"):  # pictures and prompts are in vLLM's caches then
            asked = (engine.generate(*one) for one in asked_of(name))
            answers[f"{name} {time}"] = [asdict(reply) for reply in await asyncio.gather(*asked)]
        if keys.get("logprobs"):
            replies = await asyncio.gather(*(engine.generate(one, ()) for one in generated()))
            answers["generated"] = [asdict(reply) for reply in replies]
        await engine.stop()
    return answers


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(asyncio.run(ask()))}\n")

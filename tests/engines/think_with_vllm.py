"""Asks vLLM for the replies of a checkpoint that thinks, and for the names of its parsers; prints them as JSON.

It runs as answer_with_vllm.py does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

from thinking_asked import ASKED
from vllm.reasoning import ReasoningParserManager

from eibench_ray.engines.vllm.vllm_engine import VllmEngine
from eibench_ray.engines.vllm.vllm_section import VllmSection

ENGINE = {
    "kind": "vllm",
    "dtype": "float32",
    "max_model_len": 1024,
    "max_num_seqs": 8,
    "enforce_eager": True,
    "kv_cache_gib": 1 / 64,
}


async def answer(source: str, keys: dict[str, Any]) -> dict[str, Any]:
    """The reply to each of `ASKED`, by its name; of one that is refused, why."""
    engine = VllmEngine(VllmSection.model_validate(ENGINE | {"source": source} | keys), "cpu")
    await engine.start()
    replies = await asyncio.gather(*(engine.generate(one, ()) for one in ASKED.values()), return_exceptions=True)
    await engine.stop()
    return {
        name: str(reply) if isinstance(reply, BaseException) else asdict(reply)
        for name, reply in zip(ASKED, replies, strict=True)
    }


if __name__ == "__main__":
    folder, *ways = sys.argv[1:]
    answers = [asyncio.run(answer(folder, json.loads(way))) for way in ways]
    print(json.dumps({"answers": answers, "parsers": sorted(ReasoningParserManager.lazy_parsers)}))

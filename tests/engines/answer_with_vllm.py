"""Asks vLLM for the answers of some tiny checkpoints, one after the other, and prints them as JSON.

It runs in vllm_host.py, which has imported vLLM and forks its engines, or on its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from asking_models import PAIRS, PENALISED, PICTURES, TURNED, request, show

from eibench_ray.engines.engine import RowError
from eibench_ray.engines.vllm.vllm_engine import VllmEngine
from eibench_ray.engines.vllm.vllm_renderer import render_apart
from eibench_ray.engines.vllm.vllm_section import VllmSection

ENGINE = {"kind": "vllm", "dtype": "float32", "max_model_len": 1024, "max_num_seqs": 8, "enforce_eager": True}
MOST_IMAGES = 2

# As the greedy answer, by three ways; then two that `extra` alone can bring about.
FURTHER = (
    *(
        {"temperature": 2.0, **narrow}
        for narrow in ({"top_k": 1}, {"min_p": 1.0}, {"extra": {"logit_bias": {"9": 0}}, "top_k": 1})
    ),
    {"extra": {"allowed_token_ids": [40]}},
    {"extra": {"logit_bias": {"41": 100}, "ignore_eos": True}},
)


async def answer(names: list[str]) -> dict[str, Any]:
    """Each checkpoint's greedy texts to all pictures, the turned one last, and why it refuses a picture's token."""
    engines, answers = [], {}
    for name in names:
        keys = ENGINE | {"source": f"checkpoint:{name}", "kv_cache_gib": 1 / 64}
        section = VllmSection.model_validate(keys)
        engine = VllmEngine(section, "cpu", most_images=MOST_IMAGES)
        await engine.start()
        engines.append(engine)
        asked = [show(request(), pictures) for pictures in (*PICTURES, TURNED)]
        replies = await asyncio.gather(*(engine.generate(*one) for one in asked))
        pairs = [show(request(), pair, *places) for pair, places in PAIRS]
        of_pairs = await asyncio.gather(*(engine.generate(*one) for one in pairs), return_exceptions=True)
        try:
            await engine.generate(*show(request("<image><|image_pad|>"), PICTURES[1]))
            refused = None
        except RowError as error:
            refused = str(error)
        answers[name] = {"texts": [reply.text for reply in replies], "refused": refused}
        rendered = await asyncio.to_thread(render_apart, section, "cpu", None, asked)
        answers[name]["num_tokens"] = [
            (prompt.num_tokens, reply.prompt_tokens) for prompt, reply in zip(rendered, replies, strict=True)
        ]
        answers[name]["pairs"] = [str(one) if isinstance(one, RowError) else one.text for one in of_pairs]
        sampled = [show(request(**keys), PICTURES[1]) for keys in (*PENALISED, *FURTHER)]
        answers[name]["sampled"] = [
            one.text for one in await asyncio.gather(*(engine.generate(*one) for one in sampled))
        ]
    await asyncio.gather(*(engine.stop() for engine in engines))
    return answers


if __name__ == "__main__":
    print(json.dumps(asyncio.run(answer(sys.argv[1:]))))

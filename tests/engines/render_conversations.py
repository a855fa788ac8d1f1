"""Renders a question in the package's conversations by vLLM, without loading weights, and prints the tokens as JSON.

It runs as answer_with_vllm.py does. Arguments: FOLDER TEMPLATE, any number of them; for each, the tokens
with a picture, without one, and with a system prompt.
"""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

from asking_models import PICTURES, request, show
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.renderers import renderer_from_config

from eibench_ray.engines.chat_templates import template_file
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.engines.vllm.vllm_arguments import engine_arguments
from eibench_ray.engines.vllm.vllm_prompts import Picture, Prompts
from eibench_ray.engines.vllm.vllm_section import VllmSection

KEYS = {"kind": "vllm", "dtype": "float32", "max_model_len": 1024, "max_num_seqs": 8, "enforce_eager": True}


async def render(folder: str, template: str) -> list[list[int]]:
    """The tokens of the three questions."""
    engine = VllmSection.model_validate(KEYS | {"source": folder, "chat_template": template, "kv_cache_gib": 1 / 64})
    config = AsyncEngineArgs(**engine_arguments(engine, "cpu")).create_engine_config()
    llm: Any = SimpleNamespace(renderer=renderer_from_config(config), model_config=config.model_config)
    prompts = Prompts(llm, template_file(template).read_text(), folder)
    asked = [
        show(request("Why?"), PICTURES[1]),
        show(request("Why?"), ()),
        show(request("Why?", system="Be brief."), PICTURES[1]),
    ]
    rendered = [
        await prompts.render(one, [Picture(decode_picture(each), "one") for each in seen]) for one, seen in asked
    ]
    return [list(prompt["prompt_token_ids"]) for prompt in rendered]


if __name__ == "__main__":
    pairs = zip(sys.argv[1::2], sys.argv[2::2], strict=True)
    print(json.dumps([asyncio.run(render(*pair)) for pair in pairs]))

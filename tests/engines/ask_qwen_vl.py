"""Asks the tiny Qwen-VL-Chat about pictures, in the Python that it runs in, and prints its answers as JSON."""

from __future__ import annotations

import asyncio
import json

import yaml
from asking_models import PICTURES, request, show
from vllm_host import fork_engines

from eibench_ray.config.options_folder import config_folder
from eibench_ray.engines.vllm.vllm_engine import VllmEngine
from eibench_ray.engines.vllm.vllm_section import VllmSection

# The model's own tokens, and how they are sent.
TEXTS = ("Why<|im_end|>?", "Why< |im_end|>?", "See <img></img>", "See < img>< /img>")


async def ask() -> dict[str, object]:
    """Greedy answers about each picture, about the first again, and to texts with the model's own tokens."""
    option = yaml.safe_load((config_folder() / "model" / "tiny_qwen_vl.yaml").read_text())
    environment = option["engine"].pop("runtime_env")
    engine = VllmEngine(VllmSection.model_validate({"kind": "vllm"} | option["engine"]), "cpu", most_images=1)
    facts = await engine.start()
    replies = await asyncio.gather(*(engine.generate(*show(request(), picture)) for picture in PICTURES))
    again = await engine.generate(*show(request(), PICTURES[1]))
    asked = [show(request(text), PICTURES[1]) for text in TEXTS]
    of_texts = await asyncio.gather(*(engine.generate(*one) for one in asked))
    await engine.stop()
    return {
        "requires": environment["uv"][0],
        "fingerprint": facts.fingerprint,
        "of_pictures": [reply.text for reply in replies],
        "again": again.text,
        "of_texts": [reply.text for reply in of_texts],
    }


if __name__ == "__main__":
    fork_engines()
    print(json.dumps(asyncio.run(ask())))

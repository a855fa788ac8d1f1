"""vLLM's renderer without its engine: prompts are made as in a replica, and no weights are loaded. It imports vllm."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

from vllm.renderers import renderer_from_config

from eibench_ray.engines.chat_templates import template_file
from eibench_ray.engines.engine import RowError
from eibench_ray.engines.engine_kind import Device
from eibench_ray.engines.sent_prompt import SentPrompt, sent_tokens
from eibench_ray.engines.vllm.vllm_arguments import engine_arguments
from eibench_ray.engines.vllm.vllm_prompts import Prompts, read_picture
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.engines.vllm.vllm_thinking import find_splitter, marks_of
from eibench_ray.engines.vllm.vllm_versions import to_engine_args
from eibench_ray.errors import EngineError
from eibench_ray.rows.request import Request
from eibench_ray.weights.node_weights import Weights


def render_apart(
    section: VllmSection,
    device: Device,
    weights: Weights | None,
    asked: Sequence[tuple[Request, Sequence[bytes]]],
) -> list[SentPrompt]:
    """Requests as vLLM's engine would get them.

    Args:
        section: of the engine.
        device: that the installed build is for; the engine's own may be on another machine.
        weights: where its tokenizer and template lie.
        asked: requests, each with the bytes of its pictures.

    Raises:
        EngineError: vLLM cannot render them here, with its reason.
    """
    template = template_file(section.chat_template).read_text(encoding="utf-8") if section.chat_template else None
    most_images = max((len(request.images) for request, _ in asked), default=0)
    try:
        config = to_engine_args(engine_arguments(section, device, weights, most_images)).create_engine_config()
        renderer = renderer_from_config(config)
        llm = SimpleNamespace(renderer=renderer, model_config=config.model_config, vllm_config=config)
        marks = marks_of(find_splitter(section, llm))
        prompts = Prompts(llm, template, section.source, section.chat_template_kwargs, marks)

        async def render() -> list[SentPrompt]:
            made = [
                await prompts.render(request, [read_picture(image) for image in images], is_again=bool(images))
                for request, images in asked
            ]
            return [sent_tokens(prompt["prompt_token_ids"], renderer.tokenizer.decode) for prompt in made]

        return asyncio.run(render())
    except (RowError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise EngineError(f"vLLM cannot render it here: {' '.join(str(error).split())}") from error

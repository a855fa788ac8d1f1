"""vLLM: AsyncLLM in this process's event loop. The one module that imports vllm."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

from eibench_ray.chat_templates import template_file
from eibench_ray.checkpoints.node import Weights
from eibench_ray.config.engines import VllmEngine
from eibench_ray.engines.base import EngineDeadError, EngineFacts, RowError
from eibench_ray.engines.pictures import decode_picture
from eibench_ray.engines.vllm_arguments import engine_arguments
from eibench_ray.errors import EngineError
from eibench_ray.plan.facts import vllm_version
from eibench_ray.records import Reply, Request, RowErrorKind, Sampling


class Vllm:
    """A vLLM engine: weights loaded once, requests batched continuously, prompts rendered off the event loop."""

    def __init__(self, config: VllmEngine, device: Literal["cpu", "cuda"], weights: Weights | None = None) -> None:
        self._config = config
        self._weights = weights
        self._device = device
        self._llm: Any = None
        self._template: str | None = None
        self._image_token: int | None = None
        self._ids = itertools.count()
        self._num_steps = 0

    async def start(self) -> EngineFacts:
        """Loads the weights; minutes for a large model.

        Raises:
            EngineError: vLLM does not start, with its own reason.
        """
        installed = vllm_version()
        if installed is None:
            raise EngineError(
                "vLLM is not installed: pip install 'eibench-ray[gpu]', or [cpu] on a machine without GPU"
            )
        try:
            # Loading blocks for minutes; a replica must go on answering its driver meanwhile.
            self._llm = await asyncio.to_thread(self._load)
        except Exception as error:
            raise EngineError(f"vLLM cannot load {self._config.source}: {_reason(error)}") from error
        checkpoint = self._llm.model_config.hf_config
        self._image_token = getattr(checkpoint, "image_token_id", getattr(checkpoint, "image_token_index", None))
        num_seqs = int(self._llm.vllm_config.scheduler_config.max_num_seqs)
        revision = f"@{self._config.revision}" if self._config.revision else ""
        fingerprint = f"{installed[0]} {self._device} {self._config.source}{revision} {self._config.dtype}"
        return EngineFacts(fingerprint, num_seqs, progress=self._count_steps())

    def _count_steps(self) -> Callable[[], int]:
        """A count of the steps in which vLLM made a token.

        What its process sends after each step passes here anyway. vLLM's own statistics would be gathered for every
        step and every row (a logger of ours switches them on), and are no better a sign of life.
        """
        core = self._llm.engine_core
        receive = core.get_output_async

        async def counted() -> Any:
            outputs = await receive()
            self._num_steps += 1
            return outputs

        core.get_output_async = counted
        return lambda: self._num_steps

    def _load(self) -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        config = self._config
        if config.chat_template:
            self._template = template_file(config.chat_template).read_text(encoding="utf-8")
        return AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_arguments(config, self._device, self._weights)))

    async def generate(self, request: Request, image: bytes | None) -> Reply:
        """The reply to one request; many run at once.

        Raises:
            RowError: the picture or the prompt cannot be used, or the engine failed on this request alone.
            EngineDeadError: the engine died.
        """
        from vllm import exceptions
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError
        from vllm.v1.engine.exceptions import EngineGenerateError

        picture = await asyncio.to_thread(decode_picture, image) if image is not None else None
        try:
            prompt = await self._render(request, picture)
            return await self._complete(prompt, request)
        except VllmDeadError as error:
            raise EngineDeadError(f"vLLM died while it answered {request.sample_id}: {_reason(error)}") from error
        # vLLM 0.22, which one model needs, knows no such class: there they are ValueErrors.
        except (getattr(exceptions, "VLLMClientError", ValueError), ValueError, TypeError) as error:
            raise RowError(RowErrorKind.PROMPT, _reason(error)) from error
        except EngineGenerateError as error:
            if self._llm.errored:
                raise EngineDeadError(f"vLLM died while it answered {request.sample_id}: {_reason(error)}") from error
            raise RowError(RowErrorKind.ENGINE, _reason(error)) from error

    async def _render(self, request: Request, picture: Any) -> Any:
        from vllm.renderers.params import ChatParams

        content: list[dict[str, Any]] = [{"type": "text", "text": request.user}]
        if picture is not None:
            content.insert(0, {"type": "image_pil", "image_pil": picture})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if request.system:
            messages.insert(0, {"role": "system", "content": request.system})
        renderer = self._llm.renderer
        template = {"add_generation_prompt": True, "tokenize": True}
        params = ChatParams(chat_template=self._template, chat_template_kwargs=template)
        _, prompts = await renderer.render_chat_async([messages], params, renderer.default_chat_tok_params)
        self._check_placeholders(prompts[0], num_pictures=int(picture is not None))
        return prompts[0]

    def _check_placeholders(self, prompt: Any, num_pictures: int) -> None:
        """Refuses a prompt whose picture was lost, or whose text holds the model's picture token: vLLM answers both."""
        ranges = (prompt.get("mm_placeholders") or {}).get("image", [])
        if len(ranges) != num_pictures:
            raise ValueError(
                f"the chat template of {self._config.source} placed {len(ranges)} of {num_pictures} pictures"
            )
        if self._image_token is not None:
            num_tokens = list(prompt["prompt_token_ids"]).count(self._image_token)
            if num_tokens != sum(placed.get_num_embeds() for placed in ranges):
                raise ValueError("the text contains the token that stands for a picture")

    async def _complete(self, prompt: Any, request: Request) -> Reply:
        final = None
        async for output in self._llm.generate(prompt, _sampling_params(request), f"r{next(self._ids)}"):
            final = output
        assert final is not None
        answer = final.outputs[0]
        return Reply(
            text=answer.text,
            finish_reason=answer.finish_reason or "unknown",
            prompt_tokens=len(final.prompt_token_ids or ()),
            completion_tokens=len(answer.token_ids),
            cached_tokens=final.num_cached_tokens or 0,
        )

    async def stop(self) -> None:
        """Shuts the engine's processes down."""
        if self._llm is not None:
            await asyncio.to_thread(self._llm.shutdown)
            self._llm = None


def _sampling_params(request: Request) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    sampling: Sampling = request.sampling
    schema = request.json_schema
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        seed=request.seed,
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
    )


def _reason(error: BaseException) -> str:
    """The first message in an error's chain of causes; vLLM's own wrapper often has none."""
    chain: Sequence[BaseException] = list(_causes(error))
    message = next((str(link) for link in chain if str(link).strip()), type(chain[-1]).__name__)
    return " ".join(message.split())


def _causes(error: BaseException | None) -> Any:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

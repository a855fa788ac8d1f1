"""vLLM: AsyncLLM in this process's event loop. This module, vllm_prompts.py, vllm_row_errors.py, vllm_thinking.py and
vllm_versions.py import vllm.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from eibench_ray.engines.chat_template_check import check_variables, read_chat_template
from eibench_ray.engines.chat_templates import no_template, template_file
from eibench_ray.engines.continuations import encode_choices, has_nan, reply_of, thinking_is_open
from eibench_ray.engines.cpu_builds import remedy
from eibench_ray.engines.decoding_slots import decode_in_thread
from eibench_ray.engines.engine import EngineDeadError, EngineFacts, RowError, no_numbers
from eibench_ray.engines.load_failure import load_reason, reason_of
from eibench_ray.engines.python_environment import vllm_version
from eibench_ray.engines.thinking import TagSplitter, ThinkingReply
from eibench_ray.engines.vllm.core_process import forked_cores
from eibench_ray.engines.vllm.vllm_adapters import find_misfit
from eibench_ray.engines.vllm.vllm_arguments import engine_arguments
from eibench_ray.engines.vllm.vllm_kind import KIND, vllm_weights
from eibench_ray.engines.vllm.vllm_logprobs import mean_logprob, read_tokens, reading_parameters, with_tokens
from eibench_ray.engines.vllm.vllm_prompts import Prompts, read_picture
from eibench_ray.engines.vllm.vllm_row_errors import row_error
from eibench_ray.engines.vllm.vllm_section import VllmExtra, VllmSection
from eibench_ray.engines.vllm.vllm_thinking import ReplyParser, find_splitter, marks_of
from eibench_ray.engines.vllm.vllm_versions import throughput_context, to_engine_args
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import Adapter
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.endings import ending_of
from eibench_ray.rows.request import Reply, Request, Sampling
from eibench_ray.versions import extra_command
from eibench_ray.weights.adapter_weights import LoadedAdapter
from eibench_ray.weights.node_weights import Weights

log = logging.getLogger(__name__)

# How vLLM ends what it had in hand when its EngineCore got SIGTERM.
_ABORTED = "abort"
_THREADS = "OMP_NUM_THREADS"
# Rows whose pictures are decoded at once: vLLM prepares them one after the other. A picture of 12 megapixels is 36 MB.
_MOST_ROWS_WITH_PIXELS = 16


class VllmEngine:
    """A vLLM engine: weights loaded once, requests batched continuously, prompts rendered off the event loop."""

    def __init__(
        self,
        config: VllmSection,
        device: Literal["cpu", "cuda"],
        weights: Weights | None = None,
        most_images: int = 0,
        adapters: Sequence[LoadedAdapter] = (),
        *,
        forks: bool = False,
    ) -> None:
        self._config = config
        self._forks = forks
        self._adapters = {one.adapter.key: one for one in adapters}
        self._lora_requests: dict[str, Any] = {}
        self._most_images = most_images
        self._weights = weights
        self._device = device
        self._llm: Any = None
        self._template: str | None = None
        self._prompts: Prompts | None = None
        self._replies: ReplyParser | TagSplitter | None = None
        self._rows_with_pixels = asyncio.Semaphore(_MOST_ROWS_WITH_PIXELS)
        self._ids = itertools.count()
        self._num_steps = 0
        self._spoilt: set[str] = set()

    async def start(self) -> EngineFacts:
        """Loads the weights; minutes for a large model.

        Raises:
            EngineError: vLLM does not start, with its own reason.
        """
        installed = vllm_version()
        if installed is None:
            raise EngineError(
                f"vLLM is not installed: {extra_command('gpu')} (on a machine without GPU, cpu in its place)"
            )
        if installed[1] == "cpu" and self._device == "cuda":
            raise EngineError(f"{installed[0]} on this node is a build for CPUs, and GPUs are to be used: {remedy()}")
        try:
            # Loading blocks for minutes; a replica must go on answering its driver meanwhile.
            self._llm = await asyncio.to_thread(self._load)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"vLLM cannot load {self._config.source}: {load_reason(error)}") from error
        variables = self._config.chat_template_kwargs
        try:
            self._replies = find_splitter(self._config, self._llm)
            check_variables(variables, self._template or self._own_template(), self._config.source)
            self._prompts = Prompts(self._llm, self._template, self._config.source, variables, marks_of(self._replies))
            await self._prompts.check()
        except EngineError:
            await self.stop()
            raise
        for number, one in enumerate(self._adapters.values(), start=1):
            await self._add_adapter(one, number)
        # Of each copy, where there are several.
        num_copies = int(self._llm.vllm_config.parallel_config.data_parallel_size)
        num_seqs = int(self._llm.vllm_config.scheduler_config.max_num_seqs) * num_copies
        weights = self._weights or Weights(vllm_weights(self._config))
        fingerprint = f"{installed[0]} {self._device} {weights.label} {self._config.dtype}"
        return EngineFacts(fingerprint, num_seqs, progress=self._count_steps())

    async def _add_adapter(self, one: LoadedAdapter, number: int) -> None:
        """Has vLLM load an adapter; one that it does not load costs its own rows alone."""
        from vllm.lora.request import LoRARequest

        if not one.reason:
            one.reason = self._find_misfit(one.adapter, Path(one.weights.source))
        if not one.reason:
            request = LoRARequest(one.adapter.key, number, one.weights.source)
            try:
                # A request for one that does not load would be asked for ever (vLLM 0.32).
                await self._llm.add_lora(request)
                self._lora_requests[one.adapter.key] = request
            except Exception as error:
                if self._llm.errored:
                    raise EngineError(f"vLLM died as it loaded the adapter {one.adapter.source}") from error
                one.reason = reason_of(error)
        if one.reason:
            log.warning("adapter cannot be used source=%s: %s", one.adapter.source, one.reason)

    def _find_misfit(self, adapter: Adapter, folder: Path) -> str:
        if not folder.is_dir():  # each process of several nodes finds its files on its own, and knows no revision
            return "a replica over several nodes cannot fetch it: set engine.lora.source to a folder that all nodes see"
        base = Path(self._weights.source) if self._weights is not None else None
        return find_misfit(self._config, adapter, folder, base)

    def _count_steps(self) -> Callable[[], int]:
        """A count of the steps in which vLLM made a token; of rows whose logits are no numbers, it notes the ids.

        What its process sends after each step passes here anyway. vLLM's own statistics would be gathered for every
        step and every row (a logger of ours switches them on), and are no better a sign of life.
        """
        core = self._llm.engine_core
        receive = core.get_output_async

        async def counted() -> Any:
            outputs = await receive()
            self._num_steps += 1
            # Counted where VLLM_COMPUTE_NANS_IN_LOGITS is set (cluster/environment.py); vLLM adds to our ids.
            self._spoilt.update(
                output.request_id.partition("-")[0]
                for output in outputs.outputs
                if getattr(output, "num_nans_in_logits", 0)
            )
            return outputs

        core.get_output_async = counted
        return lambda: self._num_steps

    def _load(self) -> Any:
        from vllm.v1.engine.async_llm import AsyncLLM

        config = self._config
        if config.chat_template:
            self._template = template_file(config.chat_template).read_text(encoding="utf-8")
        # Seen from its files where it is: a large model loads for minutes.
        elif self._weights is not None and KIND.lacks_chat_template(config, Path(self._weights.source)):
            raise EngineError(no_template(config.source))
        adapters = tuple(self._adapters.values())
        arguments = engine_arguments(config, self._device, self._weights, self._most_images, adapters)
        with threads_for_loading(self._device, config.env), forked_cores() if self._forks else nullcontext():
            return AsyncLLM.from_engine_args(to_engine_args(arguments), usage_context=throughput_context())

    def _own_template(self) -> str | None:
        return read_chat_template(Path(self._weights.source)) if self._weights is not None else None

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        """The reply to one request; many run at once.

        What vLLM ends with `error` is asked once more, from its rendering on: it may have been another row's fault.

        Raises:
            RowError: the picture or the prompt cannot be used, or the engine failed on this request alone.
            EngineDeadError: the engine died.
        """
        if request.adapter and (reason := self._adapters[request.adapter].reason):
            raise RowError(
                RowErrorKind.ENGINE, f"no adapter {self._adapters[request.adapter].adapter.source}: {reason}"
            )
        prompts = self._prompts
        assert prompts is not None
        for is_again in (False, True):
            prompt, names = await self._render(request, images, is_again=is_again)
            try:
                reply = await self._ask(prompt, request)
            except BaseException:  # a deadline, too: the engine may never have got the pictures
                prompts.forget(names)
                raise
            if reply.finish_reason == _ABORTED:
                raise EngineDeadError(
                    f"vLLM was told to end while it answered {request.sample_id}, and gave {reply.completion_tokens} "
                    f"tokens of the answer up"
                )
            if ending_of(reply.finish_reason).is_answer:
                return reply
            prompts.forget(names)
        raise RowError(
            RowErrorKind.ENGINE,
            f"vLLM ended the reply with {reply.finish_reason!r} after {reply.completion_tokens} tokens, also when it "
            f"was asked again: the log of its replica says why",
        )

    async def _render(self, request: Request, images: Sequence[bytes], *, is_again: bool) -> tuple[Any, Sequence[str]]:
        """The prompt, and its pictures' names. Few rows hold pixels at once, and none until its reply."""
        assert self._prompts is not None
        with self._row_errors(request):
            if not images:
                return await self._prompts.render(request, (), is_again=is_again), ()
            async with self._rows_with_pixels:
                pictures = [await decode_in_thread(read_picture, image) for image in images]
                prompt = await self._prompts.render(request, pictures, is_again=is_again)
                return prompt, [picture.name for picture in pictures]

    async def _ask(self, prompt: Any, request: Request) -> Reply:
        with self._row_errors(request):
            return await (self._compare if request.choices else self._complete)(prompt, request)

    @contextmanager
    def _row_errors(self, request: Request) -> Iterator[None]:
        try:
            yield
        except RowError:
            raise
        except Exception as error:
            if (found := row_error(error, request.sample_id, self._llm)) is None:
                raise
            raise found from error

    async def _complete(self, prompt: Any, request: Request) -> Reply:
        final, name = None, f"r{next(self._ids)}"
        lora = self._lora_requests[request.adapter] if request.adapter else None
        try:
            async for output in self._llm.generate(
                prompt, self._parameters(request), name, lora_request=lora, **self._grammar_facts()
            ):
                final = output
            if final is None or not final.outputs:
                return Reply("", "error", 0, 0)
            answer = final.outputs[0]
            if name in self._spoilt:
                raise no_numbers(self._config.dtype, len(answer.token_ids))
        finally:
            self._spoilt.discard(name)
        parts = self._split(request, final.prompt_token_ids or (), answer)
        return Reply(
            text=parts.answer,
            finish_reason=answer.finish_reason or "unknown",
            prompt_tokens=len(final.prompt_token_ids or ()),
            completion_tokens=len(answer.token_ids),
            cached_tokens=final.num_cached_tokens or 0,
            thinking=parts.thinking,
            thinking_tokens=parts.thinking_tokens,
            mean_logprob=mean_logprob(answer, parts.thinking_tokens),
        )

    async def _compare(self, prompt: Any, request: Request) -> Reply:
        """The likeliest of a request's choices; vLLM reads the prompt once with each."""
        assert request.choices is not None
        own = list(prompt["prompt_token_ids"])
        if self._leaves_thinking_open(own):
            raise thinking_is_open(self._config.source)
        encoded = encode_choices(self._llm.renderer.tokenizer, own, request.choices)
        reading = [asyncio.ensure_future(self._read(with_tokens(prompt, tokens), request)) for tokens in encoded]
        try:
            outputs = await asyncio.gather(*reading)
        finally:
            for one in reading:
                one.cancel()
        reasons = [one.outputs[0].finish_reason if one and one.outputs else "error" for one in outputs]
        if failed := [reason or "unknown" for reason in reasons if not ending_of(reason).is_answer]:
            return Reply("", failed[0], 0, 0)
        logprobs = [read_tokens(one, tokens) for one, tokens in zip(outputs, encoded, strict=True)]
        if has_nan(logprobs):
            raise no_numbers(self._config.dtype, 0)
        return reply_of(request.choices, logprobs, sum(len(own) + len(tokens) for tokens in encoded))

    async def _read(self, prompt: Any, request: Request) -> Any:
        final, lora = None, self._lora_requests[request.adapter] if request.adapter else None
        async for output in self._llm.generate(prompt, reading_parameters(), f"r{next(self._ids)}", lora_request=lora):
            final = output
        return final

    def _leaves_thinking_open(self, prompt: Sequence[int]) -> bool:
        return isinstance(self._replies, TagSplitter | ReplyParser) and self._replies.is_open(prompt)

    def _parameters(self, request: Request) -> Any:
        parameters = _sampling_params(request, self._config)
        if isinstance(self._replies, ReplyParser) and self._replies.needs_special_tokens:
            parameters.skip_special_tokens = False
        return parameters

    def _split(self, request: Request, prompt: Sequence[int], answer: Any) -> ThinkingReply:
        if isinstance(self._replies, ReplyParser):
            return self._replies.split(prompt, answer.text, answer.token_ids)
        # Without a parser of vLLM's, a grammar begins with the reply: all of it is the answer.
        if self._replies is None or request.json_schema:
            return ThinkingReply(None, answer.text)
        return self._replies.split(prompt, answer.text, answer.token_ids)

    def _grammar_facts(self) -> dict[str, Any]:
        """Arguments by which vLLM's grammar knows whether the template lets the model think."""
        variables = self._config.chat_template_kwargs
        if not variables or not isinstance(self._replies, ReplyParser):
            return {}
        return {"reasoning_parser_kwargs": {"chat_template_kwargs": variables}}

    async def stop(self) -> None:
        """Shuts the engine's processes down."""
        if (llm := self._llm) is not None:
            self._llm = None
            await asyncio.to_thread(llm.shutdown)


@contextmanager
def threads_for_loading(device: Literal["cpu", "cuda"], configured: Mapping[str, str]) -> Iterator[None]:
    """Lets processes that load weights onto GPUs, and start meanwhile, have as many threads as there are cores.

    Ray sets OMP_NUM_THREADS to 1 in every actor. vLLM leaves that as it is, and else shares the node's cores out among
    its processes as they load, which keep one each for the steps after; but none gets more than its parent has, which
    is what torch read when it was imported (vLLM 0.32, v1/engine/utils.py and utils/torch_utils.py).
    """
    given = None if device == "cpu" or _THREADS in configured else os.environ.pop(_THREADS, None)
    if given is None:
        yield
        return
    import torch

    own = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        yield
    finally:
        torch.set_num_threads(own)
        os.environ[_THREADS] = given


def _sampling_params(request: Request, config: VllmSection) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    sampling: Sampling = request.sampling
    schema = request.json_schema
    extra = sampling.extra
    further = VllmExtra.model_validate(dict(extra)).model_dump(exclude_unset=True) if extra else {}
    if detection := further.get("repetition_detection"):
        from vllm.sampling_params import RepetitionDetectionParams

        further["repetition_detection"] = RepetitionDetectionParams(**detection)
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens + config.reasoning_tokens,
        stop=[*sampling.stop, *config.stop],
        seed=request.seed,
        logprobs=0 if config.logprobs else None,  # of the chosen token alone
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,  # it is this request's alone, so vLLM need not copy it deeply
        structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
        **sampling.optional,
        **further,
    )

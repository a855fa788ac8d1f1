"""A model in transformers: prompts from requests, batches from prompts, replies from batches. All of it blocks."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import torch
import transformers as hf
from jinja2 import TemplateError
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from eibench_ray.engines.continuations import encode_choices, has_nan, reply_of, thinking_is_open
from eibench_ray.engines.engine import EngineDeadError, RowError
from eibench_ray.engines.thinking import ThinkingReply
from eibench_ray.engines.transformers.choice_batches import read_choices
from eibench_ray.engines.transformers.collate import collate
from eibench_ray.engines.transformers.request_batches import OutOfMemoryError, Waiting
from eibench_ray.engines.transformers.token_choice import BatchRow, StopCheck, TokenChoice
from eibench_ray.engines.transformers.transformers_kind import KIND
from eibench_ray.engines.transformers.transformers_prompts import ChatPrompts
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.rows.choices import AskedChoices
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request
from eibench_ray.versions import install_command
from eibench_ray.weights.node_weights import Weights

# What some tokenizers make and few models take.
_OPTIONAL_INPUTS = frozenset({"token_type_ids"})
_NO_MEMORY = "can't allocate memory"  # what torch says on a CPU, as a RuntimeError


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """A request as the model takes it."""

    request: Request
    tensors: dict[str, torch.Tensor]  # what its processor made, for a batch of one; `input_ids` is (1, tokens)
    room: int  # tokens that the reply may have, by the model's length
    grammar: Any = None  # xgrammar's, of the schema that the reply must follow; None where it is free
    choices: Sequence[list[int]] = ()  # tokens of each choice that is to be compared; none: a reply is generated

    @property
    def token_ids(self) -> list[int]:
        """The prompt's tokens, those of its pictures included."""
        return [int(token) for token in self.tensors["input_ids"][0].tolist()]


class Model:
    """A loaded model with its processor.

    Raises:
        EngineError: it cannot be used as configured.
    """

    def __init__(
        self, config: TransformersSection, device: Literal["cpu", "cuda"], weights: Weights | None = None
    ) -> None:
        self._config = config
        weights = weights or Weights(KIND.weights(config))
        self._prompts = prompts = ChatPrompts(config, weights)
        self._tokenizer, self._tags, self._thinks = prompts.tokenizer, prompts.tags, prompts.thinks
        special = set(self._tokenizer.all_special_tokens)
        # Marks that are special tokens would be lost with all others.
        self._unread = sorted(special.difference(prompts.marks)) if not special.isdisjoint(prompts.marks) else []
        settings = prompts.settings
        sees = settings.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        auto = hf.AutoModelForImageTextToText if sees else hf.AutoModelForCausalLM
        spread = {"device_map": "auto"} if device == "cuda" and config.num_gpus > 1 else {}
        model = auto.from_pretrained(**prompts.source, dtype=config.dtype, **spread)
        self._model = model.eval() if spread else model.to(device).eval()
        self._inputs = inspect.signature(self._model.forward).parameters
        text = settings.get_text_config()
        self._vocabulary = int(text.vocab_size)
        self._most_tokens = config.max_model_len or getattr(text, "max_position_embeddings", None)
        self._last_tokens = self._find_last_tokens()
        # The checkpoint's own defaults (a temperature, a repetition penalty) are none of the sweep's.
        self._model.generation_config = hf.GenerationConfig(
            do_sample=False,
            eos_token_id=sorted(self._last_tokens),
            pad_token_id=self._pad_token,
            bos_token_id=self._tokenizer.bos_token_id,
        )
        self._compiler: Any = None
        self.num_steps = 0  # tokens that its batches have got, whatever the number of their rows

    def prepare(self, request: Request, pictures: Sequence[Any]) -> PreparedPrompt:
        """A request with its pictures (RGB) as tensors; one at a time, since tokenizers are not safe between threads.

        Raises:
            RowError: the prompt cannot be used.
        """
        try:
            return self._prepare(request, pictures)
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError, TemplateError) as error:
            raise RowError(RowErrorKind.PROMPT, " ".join(str(error).split()) or type(error).__name__) from error

    def _prepare(self, request: Request, pictures: Sequence[Any]) -> PreparedPrompt:
        made = self._prompts.make(request, pictures)
        tensors = {name: made[name] for name in made if name in self._inputs or name not in _OPTIONAL_INPUTS}
        num_tokens = tensors["input_ids"].shape[1]
        most = self._most_tokens or num_tokens + request.sampling.max_tokens + self._config.reasoning_tokens
        if num_tokens >= most:
            raise ValueError(f"the prompt has {num_tokens} tokens, and the model takes {most} with the reply")
        grammar = self._compile(request.json_schema) if request.json_schema else None
        choices = self._encode(request.choices, tensors["input_ids"][0].tolist()) if request.choices else []
        if choices and (longest := max(map(len, choices))) > most - num_tokens:
            raise ValueError(f"the prompt and a choice have {num_tokens + longest} tokens, and the model takes {most}")
        return PreparedPrompt(request, tensors, most - num_tokens, grammar, choices)

    def _encode(self, asked: AskedChoices, prompt: Sequence[int]) -> list[list[int]]:
        if self._tags is not None and self._tags.is_open(prompt):
            raise thinking_is_open(self._config.source)
        return encode_choices(self._tokenizer, prompt, asked)

    def answer(self, batch: Sequence[Waiting[PreparedPrompt]]) -> list[Reply]:
        """The replies to a batch, in order.

        Raises:
            OutOfMemoryError: the batch is too large.
            EngineDeadError: the device cannot be used any more.
        """
        generated = [waiting for waiting in batch if not waiting.prompt.choices]
        compared = [waiting.prompt for waiting in batch if waiting.prompt.choices]
        rows = [self._row(waiting) for waiting in generated]
        try:
            if rows:
                self._generate([waiting.prompt for waiting in generated], rows)
            likelihoods = self._compare(compared)
        except RuntimeError as error:  # torch's own errors are
            if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY in str(error):
                torch.cuda.empty_cache()
                raise OutOfMemoryError(
                    "out of memory: lower model.engine.max_model_len, or give it more GPUs (model.engine.num_gpus)"
                ) from error
            if isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
                raise EngineDeadError(f"the GPU failed: {' '.join(str(error).split())[:400]}") from error
            raise
        replies = iter([self._reply(waiting.prompt, row) for waiting, row in zip(generated, rows, strict=True)])
        of_choices = iter(likelihoods)
        return [next(of_choices if waiting.prompt.choices else replies) for waiting in batch]

    def _compare(self, prompts: Sequence[PreparedPrompt]) -> list[Reply]:
        """The likeliest choice of each prompt."""
        asked = [(prompt.tensors, prompt.choices) for prompt in prompts]
        takes_places = "logits_to_keep" in self._inputs
        found = read_choices(self._model, asked, self._pad_token, self._config.max_num_seqs, takes_places=takes_places)
        self.num_steps += len(prompts)
        return [self._reply_of(prompt, logprobs) for prompt, logprobs in zip(prompts, found, strict=True)]

    def _reply_of(self, prompt: PreparedPrompt, logprobs: Sequence[Sequence[float]]) -> Reply:
        assert prompt.request.choices is not None
        if has_nan(logprobs):
            return Reply("", "error", 0, 0)
        num_tokens = sum(len(prompt.token_ids) + len(tokens) for tokens in prompt.choices)
        return reply_of(prompt.request.choices, logprobs, num_tokens)

    def _generate(self, prompts: Sequence[PreparedPrompt], rows: Sequence[BatchRow]) -> None:
        inputs = collate([prompt.tensors for prompt in prompts], self._pad_token)
        dtype, device = self._model.dtype, self._model.device
        with torch.inference_mode():
            self._model.generate(
                **{
                    name: value.to(device, dtype if value.is_floating_point() else None)
                    for name, value in inputs.items()
                },
                max_new_tokens=max(row.limit for row in rows),
                logits_processor=[TokenChoice(rows)],
                stopping_criteria=[StopCheck(rows, self._last_tokens, self._decode, self._note_step)],
            )

    def _note_step(self) -> None:
        self.num_steps += 1

    def _row(self, waiting: Waiting[PreparedPrompt]) -> BatchRow:
        request = waiting.prompt.request
        generator = None
        if request.sampling.temperature > 0:
            generator = torch.Generator(self._model.device).manual_seed(request.seed)
        limit = min(request.sampling.max_tokens + self._config.reasoning_tokens, waiting.prompt.room)
        matcher, tokens = _matcher(waiting.prompt.grammar), waiting.prompt.token_ids
        row = BatchRow(request.sampling, limit, generator, matcher, tokens, waiting.is_wanted)
        row.notes_logprobs = self._config.logprobs
        if matcher is not None and self._thinks and self._tags is not None and not self._tags.is_closed(tokens):
            row.free_until = self._tokenizer.encode(self._tags.marks.end, add_special_tokens=False)
        return row

    def _compile(self, schema: dict[str, Any]) -> Any:
        """The grammar that keeps a reply to a JSON schema, as in the vLLM engine; equal schemas are compiled once."""
        try:
            import xgrammar
        except ImportError:
            raise ValueError(f"a reply by a JSON schema needs xgrammar: {install_command('xgrammar')}") from None
        if self._compiler is None:
            info = xgrammar.TokenizerInfo.from_huggingface(
                self._tokenizer, vocab_size=self._vocabulary, stop_token_ids=sorted(self._last_tokens)
            )
            self._compiler = xgrammar.GrammarCompiler(info)
        return self._compiler.compile_json_schema(json.dumps(schema), any_whitespace=False, separators=(",", ":"))

    def _reply(self, prompt: PreparedPrompt, row: BatchRow) -> Reply:
        text = self._decode(row.tokens)
        starts = [text.find(stop) for stop in row.sampling.stop if stop in text]
        text = text[: min(starts)] if starts else text
        parts = ThinkingReply(None, text)
        # With a schema, and a template that opens no thinking, the grammar has begun with the reply: all is the answer.
        if self._tags is not None and (row.matcher is None or self._thinks):
            parts = self._tags.split(prompt.token_ids, text, row.tokens)
        return Reply(
            text=parts.answer,
            finish_reason=row.end or "unknown",  # without an end it was not generated to one
            prompt_tokens=len(prompt.token_ids),
            completion_tokens=len(row.tokens),
            thinking=parts.thinking,
            thinking_tokens=parts.thinking_tokens,
            mean_logprob=row.mean_logprob(parts.thinking_tokens or 0, self._last_tokens),
        )

    def _decode(self, tokens: list[int]) -> str:
        unread, keep = self._unread, bool(self._unread)
        text = self._tokenizer.decode(tokens, skip_special_tokens=not keep, clean_up_tokenization_spaces=False)
        return reduce(lambda kept, token: kept.replace(token, ""), unread, str(text))

    def _find_last_tokens(self) -> set[int]:
        """The tokens that end a reply: the checkpoint names one or several, and its tokenizer one."""
        named = self._model.generation_config.eos_token_id
        listed = named if isinstance(named, list) else [named]
        return {int(token) for token in (*listed, self._tokenizer.eos_token_id) if token is not None}

    @property
    def _pad_token(self) -> int:
        token = self._tokenizer.pad_token_id
        return int(token) if token is not None else min(self._last_tokens)


def _matcher(grammar: Any) -> Any:
    if grammar is None:
        return None
    from xgrammar import GrammarMatcher

    return GrammarMatcher(grammar)

"""vLLM's reasoning parsers over whole replies. Beside vllm_engine.py, it imports vllm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eibench_ray.engines.thinking import TagSplitter, ThinkingMarks, ThinkingReply
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.errors import EngineError


class ReplyParser:
    """Splits replies by one of vLLM's parsers, as its own server does.

    Raises:
        Exception: of vLLM's; the parser does not fit the model's tokenizer.
    """

    def __init__(self, name: str, llm: Any, template_variables: Mapping[str, Any]) -> None:
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.parser.parser_manager import ParserManager

        self._tokenizer = llm.renderer.tokenizer
        self._config = llm.model_config
        self._variables = dict(template_variables)
        is_harmony = getattr(self._config.hf_config, "model_type", "") == "gpt_oss"
        self._class = ParserManager.get_parser(
            reasoning_parser_name=name, is_harmony=is_harmony, tokenizer=self._tokenizer
        )
        self._request = ChatCompletionRequest(messages=[{"role": "user", "content": "?"}], model="m")
        reasoning = getattr(self._new(), "reasoning_parser", None)
        start, end = (getattr(reasoning, f"reasoning_{name}_str", None) for name in ("start", "end"))
        self._tags = TagSplitter(self._tokenizer, ThinkingMarks(start, end)) if start and end else None
        self.marks: tuple[str, ...] = (start, end) if start and end else ()
        special = set(self._tokenizer.all_special_tokens)
        # Marks that are special tokens would be lost with them.
        self.needs_special_tokens = not self.marks or not special.isdisjoint(self.marks)
        self._unread = (*self.marks, *(special if self.needs_special_tokens else ()))

    def split(self, prompt: Sequence[int], text: str, tokens: Sequence[int]) -> ThinkingReply:
        """The parts of a reply.

        One that has no mark, to a prompt that leaves no thinking open, is all answer: vLLM's parsers would call it all
        thinking.

        Args:
            prompt: the tokens of the prompt.
            text: the reply's, with special tokens where `needs_special_tokens` says so.
            tokens: the reply's.
        """
        parser, known = self._new(), list(prompt)
        is_answer = parser.is_reasoning_end(known)
        if self._tags is not None and not any(mark in text for mark in self.marks):
            is_answer = is_answer or not self._tags.is_open(known)
        if is_answer:
            return ThinkingReply(None, self._clean(text))
        parser.set_prompt_token_ids(known)
        said, answer, _ = parser.parse(text, self._request, model_output_token_ids=tokens)
        thinking = self._clean(said or "").strip() or None
        return ThinkingReply(thinking, self._clean(answer or "").strip(), self._count(tokens, thinking))

    def is_open(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt has begun the thinking, as far as its marks show."""
        return self._tags is not None and self._tags.is_open(prompt)

    def _new(self) -> Any:
        return self._class(self._tokenizer, None, chat_template_kwargs=self._variables, model_config=self._config)

    def _count(self, tokens: Sequence[int], thinking: str | None) -> int | None:
        if thinking is None:
            return None
        if self._tags is not None:
            return self._tags.count(tokens)
        return min(len(self._tokenizer.encode(thinking, add_special_tokens=False)), len(tokens))

    def _clean(self, text: str) -> str:
        """The text without marks, and without the special tokens that were kept for their sake."""
        for mark in self._unread:
            text = text.replace(mark, "")
        return text


def find_splitter(config: VllmSection, llm: Any) -> ReplyParser | TagSplitter | None:
    """The splitter of thinking from answers; None: replies are answers as they stand.

    Args:
        config: the engine.
        llm: vLLM's, or as much of it as renders prompts.

    Raises:
        EngineError: vLLM's parser does not fit the model.
    """
    if not (name := llm.vllm_config.structured_outputs_config.reasoning_parser):
        return None if config.reasoning == "none" else TagSplitter(llm.renderer.tokenizer)
    try:
        return ReplyParser(name, llm, config.chat_template_kwargs)
    except Exception as error:
        raise EngineError(
            f"vLLM's reasoning parser {name} does not fit {config.source} ({' '.join(str(error).split())}): set "
            f"engine.reasoning of the model to another one, or to none"
        ) from error


def marks_of(splitter: ReplyParser | TagSplitter | None) -> tuple[str, ...]:
    """The texts by which a prompt would begin or end thinking, so that no row's text may bring them."""
    return splitter.marks if isinstance(splitter, ReplyParser) else ()

"""Choices as the tokens that follow a prompt, and the reply that compares them, for engines that load a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import fsum, isnan
from typing import Any

from eibench_ray.engines.engine import RowError
from eibench_ray.rows.choices import AskedChoices, to_text
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply

# No known tokenizer joins a line's end with what follows it.
_ANCHOR = "\n"
_TAIL = 8  # tokens of a prompt, in whose text its last character is found


def encode_choices(tokenizer: Any, prompt: Sequence[int], asked: AskedChoices) -> list[list[int]]:
    """The tokens of each choice behind a prompt.

    A prompt and a choice are made into tokens apart, so that the prompt is the same for all choices: a choice begins
    with a token of its own, as within a text whose line has just ended.

    Args:
        tokenizer: of the model, as transformers or vLLM has it.
        prompt: its tokens.
        asked: the choices.

    Raises:
        RowError: a choice has no token.
    """
    prefix = asked.prefix
    if prefix is None:
        end = str(tokenizer.decode(list(prompt[-_TAIL:])))
        prefix = "" if end[-1:].isspace() else " "
    anchor = list(tokenizer.encode(_ANCHOR, add_special_tokens=False))

    def encode(text: str) -> list[int]:
        behind = list(tokenizer.encode(_ANCHOR + text, add_special_tokens=False))
        if behind[: len(anchor)] == anchor:
            return behind[len(anchor) :]
        return list(tokenizer.encode(text, add_special_tokens=False))

    found = [encode(prefix + text) for text in asked.texts]
    if (empty := next((text for text, tokens in zip(asked.texts, found, strict=True) if not tokens), None)) is not None:
        raise RowError(RowErrorKind.PROMPT, f"the model's tokenizer has no token for the choice {empty!r}")
    return found


def thinking_is_open(source: str) -> RowError:
    """The error of a row whose prompt has begun the model's thinking, behind which no answer can stand."""
    return RowError(
        RowErrorKind.PROMPT,
        f"the chat template of {source} begins the model's thinking, and a choice would stand within it: close it with "
        f"engine.chat_template_kwargs of the model ({{enable_thinking: false}} for most), or with another template",
    )


def reply_of(asked: AskedChoices, logprobs: Sequence[Sequence[float]], prompt_tokens: int) -> Reply:
    """The reply whose text is the likeliest choice.

    Nothing was generated for it. It counts as one token, as what waits for a replica is estimated by tokens.

    Args:
        asked: the choices.
        logprobs: of the tokens of each choice.
        prompt_tokens: those that were read, of all prompts with their choices.
    """
    found = asked.compare(logprobs)
    text = asked.likeliest(found)
    own = logprobs[asked.texts.index(text)]
    return Reply(text, "stop", prompt_tokens, 1, mean_logprob=fsum(own) / len(own), likelihoods=to_text(found))


def has_nan(logprobs: Sequence[Sequence[float]]) -> bool:
    """Whether one is no number."""
    return any(map(isnan, chain.from_iterable(logprobs)))

"""The reply in a chat completion, as endpoints write it, with counts that can be trusted. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from eibench_ray.engines.openai.error_body import ErrorBody
from eibench_ray.engines.openai.event_stream import is_event_stream, join_events
from eibench_ray.engines.openai.message_content import read_content, read_thinking
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.request_body import prompt_estimate
from eibench_ray.engines.openai.token_usage import TokenUsage, read_usage, reasoning_tokens
from eibench_ray.engines.thinking import SplitReply, split_thinking
from eibench_ray.rows.endings import CONTENT_FILTER, REFUSAL, Ending, ending_of
from eibench_ray.rows.request import Reply, Request
from eibench_ray.rows.token_counts import estimate_tokens
from eibench_ray.visible_text import in_line

# No token's is larger; JSON has numbers of any size.
_MAX_LOGPROB = 1e6
# How tokens read that end a reply: `<|im_end|>`, `</s>`.
_LAST_TOKEN = re.compile(r"<[^<>\s]{1,40}>")
# A finish reason that is longer is none.
_MAX_REASON_CHARS = 60


class MalformedReplyError(ValueError):
    """The response is no chat completion; another attempt may bring one."""


class FailedReplyError(Exception):
    """The response says itself that it is no answer."""

    def __init__(self, error: ErrorBody, usage: TokenUsage | None = None) -> None:
        super().__init__(error.message)
        self.error = error  # what it says
        self.usage = usage  # what it took all the same; None where it does not say that anything was generated


def parse_body(text: str) -> object:
    """A response's body as plain values; of a stream of events, the completion that they make together.

    Raises:
        MalformedReplyError: it is no JSON, or was cut.
    """
    if is_event_stream(text):
        if (joined := join_events(text)) is None:
            raise MalformedReplyError(f"the reply is a stream of events, none of them a completion's: {text[:200]!r}")
        return joined
    if text.lstrip()[:1] == "<":
        raise MalformedReplyError(f"the reply is a web page, no JSON: {' '.join(text[:300].split())!r}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError(f"the reply is no JSON ({error}): {text[:200]!r}") from None


def read_reply(body: object, request: Request, config: OpenaiSection, *, is_batch: bool = False) -> Reply:
    """The reply that a response's body holds; a refusal is one, and so is what a content filter left.

    Raises:
        MalformedReplyError: it is no chat completion.
        FailedReplyError: it is an error, or ended as no answer ends.
    """
    completion = _object(body, "the reply")
    if (error := ErrorBody.find(completion)) is not None:
        took = "usage" in completion
        raise FailedReplyError(error, read_usage(completion, "", request, config, is_batch=is_batch) if took else None)
    choices = completion.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedReplyError(f"the reply has no choices: {str(completion)[:200]}")
    choice = _object(choices[0], "its choice")
    message = _object(choice.get("message"), "its message")
    content = read_content(message.get("content"))
    refusal = read_content(message.get("refusal")).text or content.refusal
    reason = _reason(choice.get("finish_reason"), has_refusal=bool(refusal))
    split = split_thinking(content.text) if config.reasoning == "auto" else SplitReply(None, content.text)
    thinking = "\n\n".join(filter(None, (read_thinking(message), content.thinking, split.thinking))).strip() or None
    text = split.answer or refusal
    usage = read_usage(completion, f"{thinking or ''}{text}", request, config, is_batch=is_batch)
    if not (ending := ending_of(reason)).is_answer:
        how = f"with finish_reason {reason!r}" if reason else "without a finish_reason"
        said = f"the reply ended {how}, which is not how an answer ends: {text[:100]!r}"
        # A word that nobody knows says nothing of what went wrong.
        error = ErrorBody.of({"message": said, "code": reason} if ending is Ending.FAILED else said)
        raise FailedReplyError(error, usage)
    if content.unread and not text:
        raise MalformedReplyError(f"the reply has no text, but parts of type {', '.join(content.unread)[:100]}")
    return Reply(
        text=text,
        finish_reason=REFUSAL if refusal else reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        cost_usd=usage.cost_usd,
        thinking=thinking,
        thinking_tokens=_thinking_tokens(completion, thinking, usage.completion_tokens),
        mean_logprob=_mean_logprob(choice.get("logprobs"), text, thinking) if config.logprobs else None,
    )


def filtered_reply(request: Request, config: OpenaiSection) -> Reply:
    """The answer to a request that the endpoint's content filter refused before anything was generated or paid for."""
    prompt_tokens = prompt_estimate(request, config)
    return Reply("", CONTENT_FILTER, prompt_tokens, 0, cost_usd=0.0 if config.price else None)


def _thinking_tokens(completion: dict[str, Any], thinking: str | None, completion_tokens: int) -> int | None:
    """Tokens of the thinking, as the endpoint counts them, else estimated; None where nothing shows that it thought."""
    known = reasoning_tokens(completion, completion_tokens)
    return known or (min(estimate_tokens(thinking), completion_tokens) if thinking else None)


def _reason(value: object, *, has_refusal: bool) -> str:
    """The finish reason on one line; empty where there is none."""
    return in_line(str(value))[:_MAX_REASON_CHARS] if value is not None else REFUSAL if has_refusal else ""


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedReplyError(f"{name} is no JSON object: {str(value)[:200]}")
    return value


def _mean_logprob(logprobs: object, answer: str, thinking: str | None) -> float | None:
    """The mean over the answer's tokens; None where there are none, or none that are surely no thinking."""
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = [token for token in tokens if isinstance(token, dict)] if isinstance(tokens, list) else []
    texts = [str(token.get("token") or "") for token in found]
    # Some servers list the token that ended the reply, which is no part of its text.
    if texts and _LAST_TOKEN.fullmatch(texts[-1]) and not answer.endswith(texts[-1]):
        found.pop()
        texts.pop()
    start: int | None = _find_start(texts, answer) if thinking else 0
    own = [token.get("logprob") for token in found[start:]] if start is not None else []
    known = [value for value in own if isinstance(value, float) or type(value) is int]
    finite = [float(value) for value in known if -_MAX_LOGPROB < value < _MAX_LOGPROB]
    return math.fsum(finite) / len(finite) if finite else None


def _find_start(texts: Sequence[str], answer: str) -> int | None:
    """The token with which an answer begins that ends with the last one; None where its text is not found."""
    tail = ""
    for start in range(len(texts) - 1, -1, -1):
        tail = texts[start] + tail
        if len(tail) >= len(answer) and answer in tail:
            return start if answer else None
    return None

"""The reply in a chat completion, as endpoints write it, with counts that can be trusted. Pure."""

from __future__ import annotations

import json
import math
from typing import Any

from eibench_ray.config.endpoints import OpenaiEngine
from eibench_ray.endings import CONTENT_FILTER, REFUSAL
from eibench_ray.endpoints.prices import cost_usd
from eibench_ray.endpoints.tokens import estimate_tokens
from eibench_ray.engines.openai.body import prompt_estimate
from eibench_ray.records import Reply, Request

# No model reads more; a larger count is the endpoint's mistake.
_MAX_PROMPT_TOKENS = 100_000_000


class MalformedReplyError(ValueError):
    """What came back is no chat completion; another attempt may bring one."""


def parse_body(text: str) -> object:
    """A response's body as plain values.

    Raises:
        MalformedReplyError: it is no JSON, or was cut.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError(f"the reply is no JSON ({error}): {text[:200]!r}") from None


def read_reply(body: object, request: Request, config: OpenaiEngine, *, is_batch: bool = False) -> Reply:
    """The reply that a response's body holds; a refusal is one, and so is what a content filter left.

    Counts that are missing or cannot be are replaced by estimates: a row is paid for by them.

    Args:
        body: as `parse_body` gives it.
        request: what was asked.
        config: of whom, and at which price.
        is_batch: whether it came through the batch endpoint.

    Raises:
        MalformedReplyError: it is no chat completion.
    """
    completion = _object(body, "the reply")
    choices = completion.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedReplyError(f"the reply has no choices: {str(completion)[:200]}")
    choice = _object(choices[0], "its choice")
    message = _object(choice.get("message"), "its message")
    content, refusal = _text(message.get("content")), _text(message.get("refusal"))
    reason = choice.get("finish_reason")
    if not content and not refusal and reason is None:
        raise MalformedReplyError(f"the reply has neither content nor finish_reason: {str(choice)[:200]}")
    text = content or refusal
    usage = completion.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    prompt_tokens = _count(usage.get("prompt_tokens"), 1, _MAX_PROMPT_TOKENS)
    if prompt_tokens is None:
        prompt_tokens = prompt_estimate(request, config)
    limit = config.most_tokens(request.sampling.max_tokens)
    completion_tokens = _count(usage.get("completion_tokens"), 0, limit)
    if completion_tokens is None:
        completion_tokens = min(estimate_tokens(text), limit)
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    cached_tokens = _count(cached, 0, prompt_tokens) or 0
    price = config.price
    return Reply(
        text=text,
        finish_reason=REFUSAL if refusal else str(reason or "unknown"),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=cached_tokens,
        cost_usd=cost_usd(price, prompt_tokens, cached_tokens, completion_tokens, is_batch=is_batch) if price else None,
        mean_logprob=_mean_logprob(choice.get("logprobs")) if config.logprobs else None,
    )


def filtered_reply(request: Request, config: OpenaiEngine) -> Reply:
    """The answer to a request that the endpoint's content filter refused before anything was generated or paid for."""
    prompt_tokens = prompt_estimate(request, config)
    return Reply("", CONTENT_FILTER, prompt_tokens, 0, cost_usd=0.0 if config.price else None)


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedReplyError(f"{name} is no JSON object: {str(value)[:200]}")
    return value


def _text(value: object) -> str:
    """A text, or the texts of a list of parts, as some servers write it."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _count(value: object, low: int, high: int) -> int | None:
    """The value where it is a count that can be."""
    return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None


def _mean_logprob(logprobs: object) -> float | None:
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = [token.get("logprob") for token in tokens if isinstance(token, dict)] if isinstance(tokens, list) else []
    known = [float(value) for value in found if isinstance(value, int | float) and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None

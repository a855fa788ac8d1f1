"""The tokens that a completion took, as its endpoint counts them where that can be, and what they cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.request_body import prompt_estimate
from eibench_ray.rows.prices import cost_usd
from eibench_ray.rows.request import Request
from eibench_ray.rows.token_counts import estimate_tokens

# No model reads more; a larger count is the endpoint's mistake.
_MAX_PROMPT_TOKENS = 100_000_000


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one completion."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int  # those of the prompt that the provider had cached
    cost_usd: float | None  # None where the endpoint has no price


def read_usage(
    completion: Mapping[str, Any], text: str, request: Request, config: OpenaiSection, *, is_batch: bool
) -> TokenUsage:
    """Reads a completion's token counts; impossible and missing ones are estimated, as rows are paid by them."""
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
    price = config.price and config.price.to_price()
    cost = cost_usd(price, prompt_tokens, cached_tokens, completion_tokens, is_batch=is_batch) if price else None
    return TokenUsage(prompt_tokens, completion_tokens, cached_tokens, cost)


def reasoning_tokens(completion: Mapping[str, Any], completion_tokens: int) -> int | None:
    """Tokens of the reply that its model spent on thinking, where the endpoint says so."""
    usage = completion.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    return _count(details.get("reasoning_tokens"), 0, completion_tokens) if isinstance(details, dict) else None


def _count(value: object, low: int, high: int) -> int | None:
    """The value where it is a count that can be."""
    return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None

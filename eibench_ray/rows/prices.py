"""Prices of tokens, and amounts in words. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

_PER_TOKEN = 1e-6  # prices are per million tokens


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float | None = None  # of prompt tokens that the provider had cached; None: as `input`
    batch_factor: float = 0.5  # what a request through the batch endpoint costs, as a share of these prices


def cost_usd(
    price: Price, prompt_tokens: float, cached_tokens: float, completion_tokens: float, *, is_batch: bool
) -> float:
    """Cost in US dollars of requests with so many tokens in all.

    Args:
        price: per million tokens.
        prompt_tokens: of the prompts, the cached ones included.
        cached_tokens: those of them that the provider had cached.
        completion_tokens: of the replies.
        is_batch: whether they go through the batch endpoint.
    """
    cached = min(cached_tokens, prompt_tokens)
    of_cached = price.input if price.cached_input is None else price.cached_input
    cost = (prompt_tokens - cached) * price.input + cached * of_cached + completion_tokens * price.output
    return cost * _PER_TOKEN * (price.batch_factor if is_batch else 1.0)


def format_usd(amount: float) -> str:
    """Dollars without their sign: to the cent, and below one to two digits that count."""
    digits = 2 if amount <= 0 else max(2, 1 - math.floor(math.log10(amount)))
    return f"{amount:,.{digits}f}"

"""Rate limits in a response's headers. Pure; names are in lower case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

# OpenAI's names, which others have taken over, then Anthropic's own. DashScope sends none.
_REQUESTS_PER_MIN = ("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit")
_TOKENS_PER_MIN = ("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit")


@dataclass(frozen=True, slots=True)
class HeaderLimits:
    """Requests and tokens that the account may send per minute; None: the headers do not say."""

    requests_per_min: float | None = None
    tokens_per_min: float | None = None


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds for which the endpoint wants to be left alone; None: it does not say."""
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return ms / 1000
    said = headers.get("retry-after", "")
    if (seconds := _number(said)) is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def allowance(headers: Mapping[str, str]) -> HeaderLimits:
    """The limits that the headers name."""
    return HeaderLimits(_first(headers, _REQUESTS_PER_MIN), _first(headers, _TOKENS_PER_MIN))


def _first(headers: Mapping[str, str], names: Iterable[str]) -> float | None:
    found = (_number(headers.get(name)) for name in names)
    return next((number for number in found if number), None)  # 0 or -1: no limit is kept


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None

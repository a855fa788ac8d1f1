"""Estimates of tokens, for what is not counted yet and for counts that cannot be."""

from __future__ import annotations

import math

# English text in the vocabularies of 2024 and later; other languages take more.
CHARS_PER_TOKEN = 4
# The words around the messages: roles, separators.
_FRAME_TOKENS = 8


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def estimate_prompt_tokens(user: str, system: str | None, picture_tokens: int) -> int:
    """About how many tokens a chat prompt has, with those of its picture."""
    return _FRAME_TOKENS + estimate_tokens((system or "") + user) + picture_tokens

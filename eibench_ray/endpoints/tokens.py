"""Estimates of tokens, for what is not counted yet and for counts that cannot be."""

from __future__ import annotations

import math

# English text in the vocabularies of 2024 and later; other languages take more.
CHARS_PER_TOKEN = 4
# Between what the endpoints reckon for a picture of 1000 x 750 pixels: 765 (OpenAI), 965 (DashScope), 1000 (Anthropic).
PICTURE_TOKENS = 1000
# The words around the messages: roles, separators.
_FRAME_TOKENS = 8


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def estimate_prompt_tokens(user: str, system: str | None, has_picture: bool) -> int:
    """About how many tokens a chat prompt has."""
    return _FRAME_TOKENS + estimate_tokens((system or "") + user) + PICTURE_TOKENS * has_picture

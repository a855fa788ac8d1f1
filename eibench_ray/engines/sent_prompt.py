"""A request as its engine sends it, for people who want to see it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

# That many equal tokens in a row are a picture's, or padding: they are shown once, with their number.
_LONG_RUN = 4
_LONG_URI = 64


@dataclass(frozen=True, slots=True)
class SentPrompt:
    """A request as its engine sends it: a prompt with its special tokens, or the body of an HTTP request.

    Attributes:
        num_tokens: of the prompt, those of its pictures included; None where only the endpoint counts them.
    """

    form: Literal["prompt", "body"]
    text: str
    num_tokens: int | None = None


def sent_tokens(tokens: Sequence[int], decode: Callable[[list[int]], str]) -> SentPrompt:
    """The prompt behind tokens; long runs of one token are folded.

    >>> sent_tokens([7, 7, 7, 7, 7, 1, 2], lambda tokens: "".join(f"<{token}>" for token in tokens)).text
    '<7>{5 times}<1><2>'
    """
    pieces: list[str] = []
    plain: list[int] = []
    for token, run in groupby(tokens):
        number = len(list(run))
        if number < _LONG_RUN:
            plain += [token] * number
            continue
        pieces += [decode(plain)] if plain else []
        pieces.append(f"{decode([token])}{{{number} times}}")
        plain = []
    pieces += [decode(plain)] if plain else []
    return SentPrompt("prompt", "".join(pieces), len(tokens))


def sent_body(body: Mapping[str, Any]) -> SentPrompt:
    """An HTTP body as JSON; of pictures in it only the beginning and the length."""
    return SentPrompt("body", json.dumps(_shorten(body), indent=2, ensure_ascii=False))


def _shorten(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shorten(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shorten(one) for one in value]
    if isinstance(value, str) and value.startswith("data:") and len(value) > _LONG_URI:
        return f"{value[:_LONG_URI]}... ({len(value):,} characters)"
    return value

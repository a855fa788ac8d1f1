"""The text of a chat message's content, in each form in which endpoints write it. Pure.

>>> read_content("Sun.").text, read_content({"correct": 2}).text
('Sun.', '{"correct": 2}')
>>> read_content([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Sun."}]).text
'Sun.'
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What a model thinks is no part of its answer.
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content", "thought"})
_REFUSED = frozenset({"refusal"})
_TEXTS = frozenset({"text", "output_text"})
_KNOWN = _THOUGHTS | _REFUSED | _TEXTS


@dataclass(frozen=True, slots=True)
class Content:
    """The readable parts of a message."""

    text: str = ""  # the answer's text, all parts together
    refusal: str = ""  # what stands where the model refused to answer
    unread: tuple[str, ...] = ()  # kinds of parts that are neither, in order: pictures, sounds, and what nobody knows


def read_content(value: object) -> Content:
    """Reads a message's `content`: a text, parts, or what a server has parsed where JSON was asked for."""
    if value is None:
        return Content()
    if isinstance(value, str):
        return Content(value)
    if isinstance(value, dict) and (value.keys() == {"text"} or str(value.get("type")).lower() in _KNOWN):
        return _read_part(value)
    if isinstance(value, list) and all(map(_is_part, value)):
        parts = [_read_part(part) for part in value]
        return Content(
            "".join(part.text for part in parts),
            "".join(part.refusal for part in parts),
            tuple(kind for part in parts for kind in part.unread),
        )
    return Content(json.dumps(value, ensure_ascii=False))


def _is_part(value: object) -> bool:
    """Whether an item of a list is a part of a message; else the list is an answer in JSON."""
    if not isinstance(value, dict):
        return isinstance(value, str)
    return isinstance(value.get("type"), str) or value.keys() == {"text"}


def _read_part(part: str | Mapping[str, Any]) -> Content:
    if isinstance(part, str):
        return Content(part)
    kind = str(part.get("type", "text")).lower()
    if kind in _THOUGHTS:
        return Content()
    if kind in _REFUSED:
        return Content(refusal=_text(part.get("refusal")) or _text(part.get("text")))
    if text := _text(part.get("text")) or _text(part.get("content")):
        return Content(text)
    return Content() if kind in _TEXTS else Content(unread=(kind,))


def _text(value: object) -> str:
    """A text; OpenAI's assistants write {"value": text}."""
    if isinstance(value, dict):
        value = value.get("value")
    return value if isinstance(value, str) else ""

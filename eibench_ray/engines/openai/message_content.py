"""The text of a chat message's content, in each form in which endpoints write it. Pure.

>>> read_content("Sun.").text, read_content({"correct": 2}).text
('Sun.', '{"correct": 2}')
>>> read_content([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Sun."}])
Content(text='Sun.', thinking='Hm.', refusal='', unread=())
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_THOUGHTS = frozenset(
    {
        "thinking",
        "redacted_thinking",
        "reasoning",
        "reasoning_content",
        "thought",
        "reasoning.text",
        "reasoning.summary",
    }
)
# Fields of a message in which servers put the thinking: vLLM's, and DeepSeek's and most others'; OpenRouter's parts.
_THINKING_FIELDS = ("reasoning", "reasoning_content", "thinking", "reasoning_details")
_REFUSED = frozenset({"refusal"})
_TEXTS = frozenset({"text", "output_text"})
_KNOWN = _THOUGHTS | _REFUSED | _TEXTS


@dataclass(frozen=True, slots=True)
class Content:
    """The readable parts of a message."""

    text: str = ""  # the answer's text, all parts together
    thinking: str = ""  # what the model thought, which is no part of its answer
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
            "".join(part.thinking for part in parts),
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
        said = (part.get(name) for name in ("thinking", "reasoning", "text", "content", "summary", kind))
        return Content(thinking=next(filter(None, map(_read_thought, said)), ""))
    if kind in _REFUSED:
        return Content(refusal=_text(part.get("refusal")) or _text(part.get("text")))
    if text := _text(part.get("text")) or _text(part.get("content")):
        return Content(text)
    return Content() if kind in _TEXTS else Content(unread=(kind,))


def read_thinking(message: Mapping[str, Any]) -> str:
    """The thinking in a message's fields beside its content; the first field that has some, since they repeat it."""
    return next(filter(None, (_read_thought(message.get(name)) for name in _THINKING_FIELDS)), "")


def _read_thought(value: object) -> str:
    """The text of a thought, in whichever form: a text, a part, or parts."""
    if isinstance(value, list):
        return "".join(map(_read_thought, value))
    if isinstance(value, dict):
        return _text(value) or next(
            filter(None, (_text(value.get(name)) for name in ("text", "content", "summary", "thinking"))), ""
        )
    return value if isinstance(value, str) else ""


def _text(value: object) -> str:
    """A text; OpenAI's assistants write {"value": text}."""
    if isinstance(value, dict):
        value = value.get("value")
    return value if isinstance(value, str) else ""

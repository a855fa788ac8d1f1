"""A chat completion out of the events of a stream, which some servers send although none was asked for. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def is_event_stream(text: str) -> bool:
    """Whether a response's body is a stream of events, whatever its content type is."""
    return text.lstrip().startswith(("data:", "event:", "id:", ":"))


def join_events(text: str) -> dict[str, Any] | None:
    """The completion that the events make together; of one that was cut off, what came, without a finish reason.

    None: they are no chunks of a completion. An event that is an error is returned as it is.
    """
    texts: dict[str, list[str]] = {name: [] for name in ("content", "refusal", "reasoning", "reasoning_content")}
    reason, usage, is_known = None, None, False
    for event in _events(text):
        if event.get("error"):
            return event
        usage = event.get("usage") or usage
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if choice.get("error"):
            return event
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            is_known = True
            for name, parts in texts.items():
                if isinstance(part := delta.get(name), str):
                    parts.append(part)
        reason = choice.get("finish_reason") or reason
    if not is_known:
        return None
    message = {name: "".join(parts) or None for name, parts in texts.items()}
    return {"choices": [{"message": message, "finish_reason": reason}], "usage": usage}


def _events(text: str) -> Iterator[dict[str, Any]]:
    for line in text.split("\n"):  # not splitlines: U+2028 may stand within an event
        field, _, value = line.partition(":")
        if field != "data" or value.strip() in ("", "[DONE]"):
            continue
        try:
            event = json.loads(value)
        except (ValueError, RecursionError):  # the line where it was cut off
            continue
        if isinstance(event, dict):
            yield event

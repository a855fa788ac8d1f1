"""Replies of the fault server: chat completions, errors and counts that are right, and ones that are not."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping
from typing import Any

# Roughly what an endpoint counts for a picture.
TOKENS_PER_PICTURE = 85
# Usage that no endpoint should send, and some do.
WRONG_USAGE: tuple[Any, ...] = (
    {"prompt_tokens": -5, "completion_tokens": -1, "total_tokens": -6},
    {"prompt_tokens": "many", "completion_tokens": [], "total_tokens": {}},
    {"prompt_tokens": 10**12, "completion_tokens": 10**12, "total_tokens": 1},
    {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None},
    {},
    "lots",
)


def digest_of(body: Mapping[str, Any]) -> str:
    """The same for equal requests."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def text_of(body: Mapping[str, Any]) -> str:
    """The words of all messages."""
    return "\n".join(
        part["text"] for message in body["messages"] for part in _parts(message) if part.get("type") == "text"
    )


def tokens_of(body: Mapping[str, Any]) -> int:
    """Tokens of the prompt."""
    pictures = [part for message in body["messages"] for part in _parts(message) if part.get("type") == "image_url"]
    return max(len(text_of(body)) // 4, 1) + TOKENS_PER_PICTURE * len(pictures)


def answer_to(body: Mapping[str, Any]) -> str:
    """An answer that follows from the request; JSON where a schema or an object is asked for."""
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return json.dumps(_instance(form["json_schema"]["schema"]))
    if form.get("type") == "json_object":
        return "{}"
    return f"answer {digest_of(body)}"


def completion(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A chat completion as it should be."""
    reply_tokens = max(len(text) // 4, 1)
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "finish_reason": "stop",
        "logprobs": None,
    }
    if body.get("logprobs"):
        token = {"token": "a", "logprob": -0.25, "bytes": None, "top_logprobs": []}
        choice["logprobs"] = {"content": [token] * reply_tokens, "refusal": None}
    return {
        "id": f"chatcmpl-{digest_of(body)}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [choice],
        "usage": {
            "prompt_tokens": tokens_of(body),
            "completion_tokens": reply_tokens,
            "total_tokens": tokens_of(body) + reply_tokens,
        },
    }


def refusal(body: Mapping[str, Any]) -> dict[str, Any]:
    """A completion whose model declines."""
    reply = completion(body, "")
    reply["choices"][0]["message"] |= {"content": None, "refusal": "I cannot help with that."}
    return reply


def filtered(body: Mapping[str, Any]) -> dict[str, Any]:
    """A completion that a content filter has cut."""
    reply = completion(body, "It is beca")
    reply["choices"][0]["finish_reason"] = "content_filter"
    return reply


def ended(body: Mapping[str, Any], text: str, reason: str | None) -> dict[str, Any]:
    """A completion that ended with a word of the server's."""
    reply = completion(body, text)
    reply["choices"][0]["finish_reason"] = reason
    return reply


def in_parts(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A completion whose text comes in parts, after what the model thought."""
    reply = completion(body, text)
    middle = len(text) // 2
    parts = [{"type": "text", "text": text[:middle]}, {"type": "text", "text": text[middle:]}]
    reply["choices"][0]["message"]["content"] = [{"type": "thinking", "thinking": "Hm."}, *parts]
    return reply


THOUGHT = "Hm, let me see."


def thought(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A completion with what the model thought in a field beside its text."""
    reply = completion(body, text)
    reply["choices"][0]["message"]["reasoning_content"] = THOUGHT
    reply["usage"]["completion_tokens_details"] = {"reasoning_tokens": 1}
    return reply


def as_events(body: Mapping[str, Any], text: str) -> str:
    """A completion as the events of a stream."""
    usage = completion(body, text)["usage"]
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in re.split("(?= )", text)), {}]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"
    events = [*chunks, {"choices": [], "usage": usage}]
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def wrong_usage(body: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    """A completion with counts that cannot be."""
    return completion(body, answer_to(body)) | {"usage": draw.choice(WRONG_USAGE)}


def error(message: str, code: str | None = None, type_: str = "invalid_request_error") -> dict[str, Any]:
    """An error as OpenAI words it."""
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _instance(schema: Mapping[str, Any]) -> Any:
    """The plainest value that a schema allows."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _instance(part) for name, part in schema.get("properties", {}).items()}
    plain = {"integer": schema.get("minimum", 0), "number": 0.5, "boolean": True, "array": [], "string": "so"}
    return plain.get(schema.get("type", "null"))

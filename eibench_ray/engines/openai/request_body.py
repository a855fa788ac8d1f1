"""The body of a chat completion, for one request and for a line of a batch. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from eibench_ray.engines.engine import RowError
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.openai.response_format import response_format
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request
from eibench_ray.rows.token_counts import estimate_prompt_tokens

# Fields that a request, or a key of the section, decides; in vLLM's words, too.
OWN_FIELDS = frozenset(
    (
        *("model", "messages", "max_tokens", "max_completion_tokens", "seed", "n", "stream", "stream_options"),
        *("response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"),
        *("logprobs", "top_logprobs", "reasoning_effort", "chat_template_kwargs"),
    )
)


def build_body(request: Request, picture_uris: Sequence[str], config: OpenaiSection) -> dict[str, Any]:
    """The body for `chat/completions`, as plain values.

    Args:
        request: what is asked.
        picture_uris: its pictures as data URIs (`picture.to_data_uri`), in the order of `request.images`.
        config: what the endpoint takes. Its `args` have the last word; one that is null takes the field out.
    """
    messages: list[dict[str, Any]] = []
    if request.system:
        messages.append({"role": "system", "content": request.system})
    messages.append({"role": "user", "content": _user_content(request, picture_uris)})
    body: dict[str, Any] = {
        "model": config.model,
        "messages": messages,
        config.max_tokens_key: request.sampling.max_tokens + config.reasoning_tokens,
    }
    if config.sends_sampling:
        body |= {"temperature": request.sampling.temperature, "top_p": request.sampling.top_p}
        body |= request.sampling.optional
    if request.sampling.stop:
        body["stop"] = list(request.sampling.stop)
    if config.sends_seed:
        body["seed"] = request.seed
    if config.reasoning_effort is not None:
        body["reasoning_effort"] = config.reasoning_effort
    if config.chat_template_kwargs:
        body["chat_template_kwargs"] = config.chat_template_kwargs
    if config.logprobs:
        body["logprobs"] = True
    if request.json_schema is not None:
        body["response_format"] = response_format(request.json_schema, config.json_output)
    body |= request.sampling.extra
    return {key: value for key, value in (body | config.args).items() if value is not None}


def encode_body(body: dict[str, Any]) -> bytes:
    """The body as JSON, once for all attempts: a picture makes it megabytes long."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:  # half a character (a lone surrogate), which no JSON in UTF-8 can hold
        raise RowError(RowErrorKind.PROMPT, f"the request cannot be written as JSON: {error}") from None


def prompt_estimate(request: Request, config: OpenaiSection) -> int:
    """About how many tokens the endpoint will count in a request."""
    picture_tokens = config.picture_tokens * len(request.images)
    return estimate_prompt_tokens(request.user, request.system, picture_tokens)


def _user_content(request: Request, picture_uris: Sequence[str]) -> str | list[dict[str, Any]]:
    if not picture_uris:
        return request.user
    return [
        {"type": "text", "text": piece}
        if isinstance(piece, str)
        else {"type": "image_url", "image_url": {"url": picture_uris[piece]}}
        for piece in request.content
    ]

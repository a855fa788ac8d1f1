"""Asks for the endpoint's key on every path of vLLM's server but /health.

vLLM 0.32 asks for it on /v1 alone: /invocations answers, /tokenize, /metrics, /docs and /scale_elastic_ep are open. Its
server takes this class by name (`--middleware`); it lies around all else, vLLM's own check included.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

# The variable in which vLLM looks for its key (vllm/envs.py).
VLLM_KEY = "VLLM_API_KEY"
# Whoever starts servers looks here whether one is ready, and learns nothing else.
OPEN_PATH = "/health"
_REFUSAL = {
    "error": {"message": "this endpoint wants a key", "type": "authentication_error", "code": "invalid_api_key"}
}
_POLICY_VIOLATION = 1008


class KeyGuard:
    """An ASGI application around another one; the key is in the environment."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._key = os.environ[VLLM_KEY].encode()

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Lets a request through that has the key, or asks whether the server is well."""
        if scope["type"] not in ("http", "websocket") or self._may_pass(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            body = json.dumps(_REFUSAL).encode()
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _may_pass(self, scope: Message) -> bool:
        headers = list(scope["headers"])
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == OPEN_PATH and scope.get("method") in ("GET", "HEAD"):
            return True
        # What a browser asks before it sends a request with a key; what lies around vLLM's paths answers it.
        is_preflight = {b"origin", b"access-control-request-method"} <= {name.lower() for name, _ in headers}
        if scope.get("method") == "OPTIONS" and is_preflight:
            return True
        scheme, _, key = _value(headers, b"authorization").partition(b" ")
        return scheme.lower() == b"bearer" and secrets.compare_digest(key.strip(), self._key)


def _value(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    return next((value for known, value in headers if known.lower() == name), b"")

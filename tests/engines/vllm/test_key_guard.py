"""Access to a served model that has a key."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eibench_ray.engines.vllm.key_guard import KeyGuard

KEY = "sk-serve-4711"
PREFLIGHT = {"Origin": "http://x", "Access-Control-Request-Method": "POST"}


def answer(method: str, path: str, headers: dict[str, str], *, kind: str = "http", root: str = "") -> Any:
    """The status of an answer, or the code with which a socket is closed."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": method, "path": path, "root_path": root, "headers": raw}
    asyncio.run(KeyGuard(app)(scope, receive, send))
    return sent[0].get("status", sent[0].get("code"))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)


@pytest.mark.parametrize("path", ["/v1/models", "/invocations", "/tokenize", "/metrics", "/docs", "/scale_elastic_ep"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer sk-serve"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": f"Bearer {KEY}x"}, 401),
        ({"X-Api-Key": KEY}, 401),
        ({"Authorization": f"bearer {KEY}"}, 200),
    ],
)
def test_every_path_wants_the_key(path: str, headers: dict[str, str], status: int) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert answer(method, path, headers) == status


@pytest.mark.parametrize(
    ("method", "path", "root", "status"),
    [
        ("GET", "/health", "", 200),
        ("HEAD", "/health", "", 200),
        ("GET", "/api/health", "/api", 200),
        ("POST", "/health", "", 401),
        ("GET", "/health/", "", 401),
        ("GET", "/healthy", "", 401),
        ("GET", "//health", "", 401),
    ],
)
def test_who_asks_whether_it_is_well_needs_none(method: str, path: str, root: str, status: int) -> None:
    assert answer(method, path, {}, root=root) == status


def test_a_browser_may_ask_what_it_may_send() -> None:
    assert answer("OPTIONS", "/v1/chat/completions", PREFLIGHT) == 200
    assert answer("GET", "/metrics", PREFLIGHT) == 401


def test_a_socket_without_the_key_is_closed() -> None:
    assert answer("", "/v1/realtime", {}, kind="websocket") == 1008
    assert answer("", "/v1/realtime", {"Authorization": f"Bearer {KEY}"}, kind="websocket") == 200


def test_what_is_no_request_passes() -> None:
    assert answer("", "", {}, kind="lifespan") == 200

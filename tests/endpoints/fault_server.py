"""An endpoint with OpenAI's chat completions that keeps limits, goes wrong on demand, and remembers what it answered.

    with FaultServer() as server:                       # in a thread, on loopback
        server.behave(Behaviour(faults={Fault.HANG: 0.1}))
        ... base_url=server.base_url ...
        server.counts()                                 # per request: how often asked, limited, answered

    python tests/endpoints/fault_server.py --port 8123 --behaviour '{"latency_s": 1.0}'
        prints {"port": 8123}; POST /behaviour changes it, GET /events tells what became of each request.

Which fault a request meets follows from the seed, the request and how often it was asked, not from the order in which
requests come: a request that meets one now may meet none when it is asked again.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse
from fault_limits import Gate
from fault_replies import (
    THOUGHT,
    answer_to,
    as_events,
    completion,
    digest_of,
    ended,
    error,
    filtered,
    in_parts,
    refusal,
    text_of,
    thought,
    tokens_of,
    wrong_usage,
)
from faults import ANSWERS, Behaviour, Count, Event, Fault
from uvicorn.protocols.http.h11_impl import H11Protocol

HANG_S = 3600.0
DRIP_S = 0.05
BOMB_BYTES = 64 * 2**20


class Endpoint:
    """The server's state and its app."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.events: list[Event] = []
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.behave(behaviour)
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self._chat)
        self.app.get("/v1/models")(self._models)
        self.app.post("/moved/chat/completions")(self._answer)
        self.app.post("/moved/keyed/chat/completions")(self._answer_to_the_key)
        self.app.get("/login")(self._log_in)
        self.app.post("/behaviour")(self._change)
        self.app.get("/events")(self._tell)

    def behave(self, behaviour: Behaviour, for_s: float | None = None) -> None:
        """Behaves so from now on, or for a time and then well."""
        with self._lock:
            self._behaviour, self._gate = behaviour, Gate(behaviour.limit)
            self._until = None if for_s is None else time.monotonic() + for_s

    def counts(self) -> dict[str, Count]:
        """By request (the digest of its body)."""
        events = list(self.events)
        found: dict[str, Count] = {}
        for event in events:
            before = found.get(event.digest, Count(event.text, 0, 0, 0))
            is_limited = event.outcome in {"limited", Fault.STORM, Fault.STORM_WAIT}
            counted = before.asked + 1, before.limited + is_limited, before.answered + event.is_answered
            found[event.digest] = Count(event.text, *counted)
        return found

    def _current(self) -> tuple[Behaviour, Gate]:
        with self._lock:
            if self._until is not None and time.monotonic() >= self._until:
                well = Behaviour(latency_s=self._behaviour.latency_s)
                self._behaviour, self._gate, self._until = well, Gate(well.limit), None
            return self._behaviour, self._gate

    async def _change(self, behaviour: Behaviour, for_s: float | None = None) -> None:
        self.behave(behaviour, for_s)

    async def _tell(self) -> list[dict[str, Any]]:
        return [asdict(event) for event in self.events]

    async def _models(self) -> Response:
        if not self._current()[0].has_models:
            return JSONResponse(error("Not found"), 404)
        model = {"id": "tiny", "object": "model", "created": 0, "owned_by": "faults"}
        return JSONResponse({"object": "list", "data": [model]})

    async def _answer_to_the_key(self, request: Request) -> Response:
        if not request.headers.get("authorization"):
            return JSONResponse(error("no key"), 401)
        return await self._answer(request)

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        return JSONResponse(completion(body, answer_to(body)))

    async def _log_in(self) -> Response:
        return HTMLResponse("<html><body>Who are you?</body></html>")

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        behaviour, admission = self._current()
        visit = _Visit(self.events, time.monotonic(), digest_of(body), text_of(body))
        text = answer_to(body)
        if behaviour.reply_chars is not None and "response_format" not in body:
            text = (text + " ").ljust(behaviour.reply_chars, "x")
        wait_s = admission.wait_s(tokens_of(body) + len(text) // 4, visit.at)
        headers = admission.headers(wait_s)
        if wait_s > 0:
            visit.end("limited")
            return JSONResponse(error("Rate limit reached", "rate_limit_exceeded", "requests"), 429, headers)
        self._asked[visit.digest] += 1
        draw = random.Random(f"{behaviour.seed}/{visit.digest}/{self._asked[visit.digest]}")
        fault = _draw(behaviour.faults, draw)
        await asyncio.sleep(behaviour.latency_s)
        if await request.is_disconnected():
            visit.end("gone")
            return Response()
        # Before it is sent, so that who has the answer finds it counted.
        visit.end(fault or "answered", is_answered=fault is None or fault in ANSWERS)
        if fault is None:
            return JSONResponse(completion(body, text), 200, headers)
        if fault in ANSWERS:
            if fault is Fault.MOVED:  # what came with a key must come there with it, too
                keyed = "keyed/" if request.headers.get("authorization") else ""
                return RedirectResponse(f"/moved/{keyed}chat/completions", 307, headers)
            return _answer_with(fault, body, text, draw, headers)
        if (odd := _odd_success(fault, body, text)) is not None:
            return JSONResponse(odd, 200, headers)
        return await _fail_with(fault, completion(body, text), request, headers)


class FaultServer(Endpoint):
    """The endpoint in a thread of this process, on loopback, on one port that it keeps."""

    def __init__(self, behaviour: Behaviour | None = None, port: int = 0) -> None:
        super().__init__(behaviour or Behaviour())
        with socket.create_server(("127.0.0.1", port)) as free:
            self.port = int(free.getsockname()[1])
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def base_url(self) -> str:
        """Address that a client is told."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Returns once it answers."""
        config = uvicorn.Config(self.app, http=_Protocol, ws="none", loop="asyncio", lifespan="off", log_config=None)
        config.access_log = False
        listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(server, listener),), daemon=True)
        self._thread.start()
        while not server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        """Lets go of the port and of every connection at once, as a process that dies."""
        server, thread, loop = self._server, self._thread, self._loop
        assert server is not None
        assert thread is not None
        assert loop is not None
        loop.call_soon_threadsafe(_drop_all, server)
        thread.join(timeout=10)
        assert not thread.is_alive()
        self._server = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """The port is dead for the block."""
        self.stop()
        yield
        self.start()

    async def _serve(self, server: uvicorn.Server, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        await server.serve(sockets=[listener])

    def __enter__(self) -> FaultServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self.stop()


class _Protocol(H11Protocol):
    """Hands the connection to the app, which resets it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does so only for a listener that names its protocol; without it each reply takes 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}


class _Visit:
    """One request until it has become an event."""

    def __init__(self, events: list[Event], at: float, digest: str, text: str) -> None:
        self._events = events
        self.at, self.digest, self.text = at, digest, text

    def end(self, outcome: str, *, is_answered: bool = False) -> None:
        self._events.append(Event(self.at, self.digest, self.text, outcome, is_answered))


def _draw(faults: dict[Fault, float], draw: random.Random) -> Fault | None:
    at = draw.random()
    for fault, share in faults.items():
        at -= share
        if at < 0:
            return fault
    return None


def _answer_with(
    fault: Fault, body: dict[str, Any], text: str, draw: random.Random, headers: dict[str, str]
) -> Response:
    """An answer that is one, although something about it is odd."""
    if fault is Fault.CONTENT_FILTER_ERROR:
        message = "The response was filtered due to the prompt triggering our content management policy."
        return JSONResponse(error(message, "content_filter"), 400, headers)
    if fault is Fault.PACKED:
        reply = completion(body, f"Sonne für {text}")
        told = headers | {"content-encoding": "gzip", "content-type": "text/html; charset=iso-8859-1"}
        return Response(gzip.compress(json.dumps(reply, ensure_ascii=False).encode()), 200, told)
    if fault is Fault.STREAM:
        return Response(as_events(body, text), 200, headers, "text/event-stream")
    if fault is Fault.NO_USAGE:
        reply = completion(body, text)
        del reply["usage"]
    else:
        reply = {
            Fault.WRONG_USAGE: lambda: wrong_usage(body, draw),
            Fault.REFUSAL: lambda: refusal(body),
            Fault.PARTS: lambda: in_parts(body, text),
            Fault.THOUGHT: lambda: thought(body, text),
            Fault.THOUGHT_IN_TEXT: lambda: completion(body, f"<think>\n{THOUGHT}\n</think>\n\n{text}"),
            Fault.THOUGHT_HALF_IN_TEXT: lambda: completion(body, f"{THOUGHT}\n</think>\n\n{text}"),
            Fault.THOUGHT_TOO_LONG: lambda: ended(body, f"<think>\n{THOUGHT}", "length"),
            Fault.CONTENT_FILTER: lambda: filtered(body),
        }[fault]()
    return JSONResponse(reply, 200, headers)


def _odd_success(fault: Fault, body: dict[str, Any], text: str) -> dict[str, Any] | None:
    """Body that comes with 200 and is no answer; None: the fault is another one."""
    half = text[: len(text) // 2]
    match fault:
        case Fault.FINISH_ERROR:
            return ended(body, half, "error")
        case Fault.ABORT:
            return ended(body, half, "abort")
        case Fault.NO_REASON:
            return ended(body, "", None)
        case Fault.CHOICE_ERROR:
            reply = ended(body, half, "error")
            reply["choices"][0]["error"] = {"code": 502, "message": "Provider returned error", "metadata": {}}
            return reply
        case Fault.ERROR_IN_200:
            return {"error": {"code": 502, "message": "Provider returned error"}, "user_id": "u"}
        case Fault.LIMIT_IN_200:
            return {"error": {"code": "429", "message": "Rate limited upstream"}}
        case Fault.UNPAID_IN_200:
            return {"error": {"code": 402, "message": "Insufficient credits. Add more and retry."}, "user_id": "u"}
        case Fault.NO_CHOICES:
            return completion(body, text) | {"choices": []}
    return None


async def _fail_with(fault: Fault, reply: dict[str, Any], request: Request, headers: dict[str, str]) -> Response:
    """No answer, in one of many ways."""
    whole = json.dumps(reply).encode()
    key = request.headers.get("authorization", "")
    match fault:
        case Fault.STORM:
            return JSONResponse(error("Rate limit reached", "rate_limit_exceeded", "requests"), 429, headers)
        case Fault.STORM_WAIT:
            told = headers | {"retry-after": "1"}
            return JSONResponse(error("Rate limit reached", "rate_limit_exceeded", "requests"), 429, told)
        case Fault.QUOTA:
            return JSONResponse(error("You exceeded your current quota", "insufficient_quota"), 429, headers)
        case Fault.SERVER_ERROR:
            return JSONResponse(error("The server had an error", None, "server_error"), 500, headers)
        case Fault.OVERLOADED:
            return JSONResponse(error("The engine is overloaded", None, "server_error"), 503, headers)
        case Fault.UNAUTHORIZED:
            return JSONResponse(error(f"Incorrect API key provided: {key}", "invalid_api_key"), 401, headers)
        case Fault.ECHO_KEY:
            return JSONResponse(error(f"Bad header 'Authorization: {key}'"), 400, headers)
        case Fault.HANG:
            await asyncio.sleep(HANG_S)
        case Fault.RESET:
            told = headers | {"content-length": str(len(whole)), "content-type": "application/json"}
            return StreamingResponse(_half_then_reset(whole, request), 200, told)
        case Fault.DRIP:
            return StreamingResponse(_drip(), 200, headers, "application/json")
        case Fault.TRUNCATED:
            return Response(whole[: len(whole) * 2 // 3], 200, headers, "application/json")
        case Fault.MALFORMED:
            return Response("<html><body>Bad gateway</body></html>", 200, headers, "text/html")
        case Fault.UNKNOWN_MODEL:
            return JSONResponse(error("The model `tiny` does not exist", "model_not_found"), 404, headers)
        case Fault.BOMB | Fault.BOMB_ERROR:
            told = headers | {"content-encoding": "gzip"}
            return Response(gzip.compress(b" " * BOMB_BYTES), 200 if fault is Fault.BOMB else 500, told)
        case Fault.ODD_PACKING:
            return Response(whole, 200, headers | {"content-encoding": "br"}, "application/json")
        case Fault.ELSEWHERE:
            return RedirectResponse("http://localhost:1/v1/chat/completions?key=secret", 307, headers)
        case Fault.LOGIN:
            return RedirectResponse("/login?next=secret", 302, headers)
    return Response(status_code=500)


async def _half_then_reset(whole: bytes, request: Request) -> AsyncIterator[bytes]:
    yield whole[: len(whole) // 2]
    await asyncio.sleep(0.02)  # or the first half would be thrown away with the connection
    transport = request.state.transport
    # Lingering for zero seconds makes the kernel send RST instead of FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _drip() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await asyncio.sleep(DRIP_S)


def _drop_all(server: uvicorn.Server) -> None:
    server.should_exit = server.force_exit = True
    for connection in list(server.server_state.connections):
        connection.transport.abort()  # type: ignore[union-attr]


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--behaviour", default="{}", help="JSON of Behaviour")
    options = parser.parse_args()
    with FaultServer(Behaviour.model_validate_json(options.behaviour), options.port) as server:
        print(json.dumps({"port": server.port}), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()

"""An endpoint that cannot be reached: what is said of it, and how soon; none of this asks for anything that is paid."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask, endpoint
from certificates import make_certificate, refuser
from fault_server import FaultServer
from faults import Behaviour

from eibench_ray.engines.openai.endpoint_route import Route
from eibench_ray.engines.openai.openai_engine import OpenaiEngine
from eibench_ray.errors import EngineError
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.rows.request import Reply
from eibench_ray.rows.wait import Wait

PROXIES = [f"{name}_proxy" for name in ("http", "https", "all", "no")]


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*PROXIES, *map(str.upper, PROXIES), "SSL_CERT_FILE", "SSL_CERT_DIR"]:
        monkeypatch.delenv(name, raising=False)


def engine(base_url: str, **options: Any) -> OpenaiEngine:
    return OpenaiEngine(endpoint(base_url=base_url, **options), LocalRateLimiter(), backoff=lambda _: 0.01)


def start(base_url: str, **options: Any) -> str:
    """The error that ends the engine as it starts."""
    with pytest.raises(EngineError) as caught:
        asyncio.run(engine(base_url, **options).start())
    return str(caught.value)


def reply(base_url: str, **options: Any) -> Any:
    """The reply, or the error, of one request."""

    async def run() -> Any:
        asked = engine(base_url, **options)
        await asked.start()
        try:
            return (await asyncio.gather(asked.generate(ask("there?"), ()), return_exceptions=True))[0]
        finally:
            await asked.stop()

    return asyncio.run(run())


def test_a_server_without_tls_ends_the_engine_at_once(server: FaultServer) -> None:
    address = f"127.0.0.1:{server.port}"
    assert start(f"https://{address}/v1") == (
        f"local at https://{address}/v1 cannot be reached: {address} speaks no TLS, and base_url begins with https://: "
        f"write http:// in model.engine.base_url, or a port where it speaks https"
    )


def test_a_server_with_tls_that_is_asked_without_ends_the_engine_at_once(tmp_path: Path) -> None:
    with refuser(make_certificate(tmp_path)) as port:
        assert start(f"http://127.0.0.1:{port}/v1").endswith(
            f"127.0.0.1:{port} speaks https, and base_url begins with http://: write https:// in model.engine.base_url"
        )


@pytest.mark.parametrize(
    ("host", "days", "is_known", "words"),
    [
        ("127.0.0.1", 2, False, "self-signed certificate): give the file with the authority's certificate in SSL_CERT"),
        ("127.0.0.1", -2, True, "certificate has expired): the server needs a new one"),
        ("10.0.0.1", 2, True, "'127.0.0.1'.): write the name that it is for in model.engine.base_url"),
    ],
)
def test_a_certificate_that_is_not_trusted_ends_the_engine_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, days: int, is_known: bool, words: str
) -> None:
    certificate = make_certificate(tmp_path, host=host, days=days)
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with refuser(certificate) as port:
        said = start(f"https://127.0.0.1:{port}/v1")
    assert f"the certificate of 127.0.0.1:{port} is not trusted (" in said
    assert words in said


def test_a_certificate_that_is_named_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with refuser(certificate) as port:
        end = reply(f"https://127.0.0.1:{port}/v1")
    assert "answered 403" in str(end)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "unknown host nosuch.invalid: correct it in"),
        (None, ""),
    ],
)
def test_an_unknown_host_ends_the_engine_at_once(
    monkeypatch: pytest.MonkeyPatch, error: socket.gaierror | None, words: str
) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise error or socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    if error:
        assert words in start("http://nosuch.invalid/v1")
        return
    end = reply("http://nosuch.invalid/v1", outage_timeout_s=0.3)
    assert "the last time: no answer of the name service for nosuch.invalid (Temporary failure in" in str(end)


def test_a_proxy_does_not_cut_this_machine_off(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    for host in ("127.0.0.1", "localhost"):
        assert isinstance(reply(f"http://{host}:{server.port}/v1"), Reply)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", "http://me:hidden@127.0.0.1:1")
    end = reply(f"{scheme}://api.example/v1", outage_timeout_s=0.3)
    variable = f"{scheme.upper()}_PROXY"
    assert f"the last time: connection refused by 127.0.0.1:1, the proxy that {variable} names" in str(end)
    assert "hidden" not in str(end)


def test_a_proxy_that_says_no_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with refuser() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hidden@127.0.0.1:{port}")
        monkeypatch.setenv("HTTP_PROXY", f"http://me:hidden@127.0.0.1:{port}")
        said = start("https://api.example/v1")
        assert f"'403 Forbidden' from 127.0.0.1:{port}, the proxy that HTTPS_PROXY names: give HTTPS_PROXY" in said
        said = str(reply("http://api.example/v1"))
        assert f"(asked through the proxy 127.0.0.1:{port} that HTTP_PROXY names; put api.example into NO_PROXY" in said
        assert "hidden" not in said


def test_a_proxy_that_cannot_be_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://me:hidden@127.0.0.1:1")
    said = start("https://api.example/v1")
    assert said.startswith("what the variable HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used (")
    assert "hidden" not in said


def test_a_file_of_certificates_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    assert "what the variable SSL_CERT_FILE or SSL_CERT_DIR names cannot be used" in start("http://127.0.0.1:1/v1")


def test_while_an_endpoint_is_away_its_engine_says_so() -> None:
    async def run() -> list[list[Wait]]:
        began = time.monotonic()
        asked = engine("http://127.0.0.1:1/v1", outage_timeout_s=1800.0)
        waits = (await asked.start()).waits
        assert waits is not None
        before = list(waits())
        row = asyncio.create_task(asked.generate(ask("there?"), ()))
        while not (during := list(waits())):
            await asyncio.sleep(0.01)
        assert 0 <= during[0].waited_s <= time.monotonic() - began
        row.cancel()
        await asyncio.wait([row])
        after = list(waits())
        await asked.stop()
        return [before, during, after]

    before, (during,), after = asyncio.run(run())
    assert (during.reason, during.limit_s) == ("connection refused by 127.0.0.1:1", 1800.0)
    assert before == after == []


def test_a_server_that_has_no_list_of_models_works(server: FaultServer) -> None:
    server.behave(Behaviour(has_models=False))
    assert isinstance(reply(server.base_url), Reply)


def test_who_answers_nothing_does_not_hold_the_start_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eibench_ray.engines.openai.http_client.PROBE_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        asked = engine(f"http://127.0.0.1:{port}/v1")
        began = time.monotonic()
        facts = asyncio.run(asked.start())
    assert time.monotonic() - began < 10
    assert facts.is_endpoint


@pytest.mark.parametrize(
    ("url", "proxies", "peer"),
    [
        ("http://127.0.0.1:8000/v1", {"http": "http://p:1"}, "127.0.0.1:8000"),
        ("http://[::1]:8000/v1", {"all": "http://p:1"}, "[::1]:8000"),
        ("http://127.9.9.9/v1", {"http": "http://p:1"}, "127.9.9.9:80"),
        ("http://box/v1", {"http": "http://p:1"}, "p:1, the proxy that HTTP_PROXY names"),
        ("http://box/v1", {"https": "http://p:1"}, "box:80"),
        ("https://box/v1", {"all": "p:1"}, "p:1, the proxy that ALL_PROXY names"),
        ("https://box/v1", {"https": "http://a:b@p:1", "no": "x, BOX"}, "box:443"),
        ("https://api.box/v1", {"https": "http://p:1", "no": "box"}, "api.box:443"),
        ("https://api.box/v1", {"https": "http://p:1", "no": ".box"}, "api.box:443"),
        ("https://abox/v1", {"https": "http://p:1", "no": "box"}, "p:1, the proxy that HTTPS_PROXY names"),
        ("https://box/v1", {"https": "http://p:1", "no": "*"}, "box:443"),
    ],
)
def test_a_route_names_whom_it_meets_first(url: str, proxies: dict[str, str], peer: str) -> None:
    assert Route.of(url, proxies).peer == peer

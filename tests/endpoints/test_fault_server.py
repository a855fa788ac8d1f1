"""The fault server does what it is told, or nothing that is tested against it means anything."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fault_limits import Limit
from fault_server import FaultServer
from faults import ANSWERS, Behaviour, Fault, all_mixed

KEY = "sk-planted"
# One for all: a client of one's own for each request takes 50 ms.
CLIENT = httpx.Client(headers={"Authorization": f"Bearer {KEY}"})


def ask(server: FaultServer, text: str = "why?", timeout_s: float = 20.0, **fields: Any) -> httpx.Response:
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}]} | fields
    return CLIENT.post(f"{server.base_url}/chat/completions", json=body, timeout=timeout_s)


def test_an_answer_counts_once(fault_server: FaultServer) -> None:
    reply = ask(fault_server).json()
    assert reply["choices"][0]["message"]["content"].startswith("answer ")
    assert reply["usage"]["prompt_tokens"] == 1
    (count,) = fault_server.counts().values()
    assert (count.text, count.asked, count.limited, count.answered) == ("why?", 1, 0, 1)


def test_a_schema_is_followed(fault_server: FaultServer) -> None:
    schema = {"type": "object", "properties": {"correct": {"type": "integer", "minimum": 0}, "total": {"const": 3}}}
    form = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
    reply = ask(fault_server, response_format=form).json()
    assert json.loads(reply["choices"][0]["message"]["content"]) == {"correct": 0, "total": 3}


@pytest.mark.parametrize("fault", list(Fault))
def test_each_fault(fault_server: FaultServer, fault: Fault) -> None:
    fault_server.behave(Behaviour(faults={fault: 1.0}))
    statuses = {
        Fault.STORM: 429,
        Fault.STORM_WAIT: 429,
        Fault.QUOTA: 429,
        Fault.SERVER_ERROR: 500,
        Fault.OVERLOADED: 503,
        Fault.UNAUTHORIZED: 401,
        Fault.ECHO_KEY: 400,
        Fault.CONTENT_FILTER_ERROR: 400,
        Fault.UNKNOWN_MODEL: 404,
        Fault.BOMB_ERROR: 500,
        Fault.MOVED: 307,
        Fault.ELSEWHERE: 307,
        Fault.LOGIN: 302,
    }
    match fault:
        case Fault.HANG:
            with pytest.raises(httpx.ReadTimeout):
                ask(fault_server, timeout_s=0.5)
        case Fault.DRIP:
            with CLIENT.stream("POST", f"{fault_server.base_url}/chat/completions", json=chat(), timeout=20) as stream:
                assert [next(stream.iter_raw()).strip()] == [b""]
        case Fault.RESET:
            with pytest.raises(httpx.ReadError):
                ask(fault_server)
        case Fault.BOMB | Fault.BOMB_ERROR:
            reply = ask(fault_server, timeout_s=60)  # to pack it takes a second
            assert len(reply.content) > 100 * reply.num_bytes_downloaded
            assert reply.status_code == statuses.get(fault, 200)
        case Fault.ODD_PACKING:
            with CLIENT.stream("POST", f"{fault_server.base_url}/chat/completions", json=chat(), timeout=20) as stream:
                assert stream.headers["content-encoding"] == "br"
        case Fault.TRUNCATED | Fault.MALFORMED:
            with pytest.raises(json.JSONDecodeError):
                ask(fault_server).json()
        case _:
            reply = ask(fault_server)
            assert reply.status_code == statuses.get(fault, 200)
            assert (KEY in reply.text) is (fault in {Fault.UNAUTHORIZED, Fault.ECHO_KEY})
            assert ("retry-after" in reply.headers) is (fault is Fault.STORM_WAIT)
    (count,) = fault_server.counts().values()
    assert count.answered == (fault in ANSWERS)


def chat(text: str = "why?") -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}]}


def test_faults_follow_the_seed_and_pass(fault_server: FaultServer) -> None:
    fault_server.behave(Behaviour(faults={Fault.SERVER_ERROR: 0.5}, seed=3))
    first = [ask(fault_server, f"why {number}?").status_code for number in range(20)]
    second = [ask(fault_server, f"why {number}?").status_code for number in range(20)]
    assert {*first} == {200, 500}
    assert first != second
    fault_server.behave(Behaviour(faults=all_mixed(1.0)), for_s=0.0)
    assert {ask(fault_server, f"why {number}?").status_code for number in range(20)} == {200}


@pytest.mark.parametrize("kind", ["bucket", "window"])
def test_a_limit_is_kept_and_told(fault_server: FaultServer, kind: Any) -> None:
    limit = Limit(requests_per_min=120, kind=kind, burst_s=5, tells_wait="ms", tells_limit=True)
    fault_server.behave(Behaviour(limit=limit))
    replies = [ask(fault_server, f"why {number}?") for number in range(121)]
    passed = [reply for reply in replies if reply.status_code == 200]
    refused = [reply for reply in replies if reply.status_code == 429]
    assert refused
    if kind == "window":
        assert len(passed) == 120
        assert 50_000 < int(refused[0].headers["retry-after-ms"]) <= 60_000
    else:
        assert 10 <= len(passed) < 40
        assert 0 < int(refused[0].headers["retry-after-ms"]) <= 500
        assert refused[0].headers["retry-after"] == "1"
    assert {reply.headers["x-ratelimit-limit-requests"] for reply in replies} == {"120"}
    assert sum(count.limited for count in fault_server.counts().values()) == len(refused)


def test_a_dead_port_comes_back(fault_server: FaultServer) -> None:
    with fault_server.away(), pytest.raises(httpx.ConnectError):
        ask(fault_server)
    assert ask(fault_server).status_code == 200


def test_a_client_that_left_has_no_answer(fault_server: FaultServer) -> None:
    fault_server.behave(Behaviour(latency_s=0.2))
    with pytest.raises(httpx.ReadTimeout):
        ask(fault_server, timeout_s=0.1)
    while not fault_server.events:
        time.sleep(0.01)
    assert [(event.outcome, event.is_answered) for event in fault_server.events] == [("gone", False)]


def test_it_runs_as_a_script() -> None:
    script = Path(__file__).with_name("fault_server.py")
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        httpx.post(f"{address}/behaviour", json={"faults": {"refusal": 1.0}}).raise_for_status()
        assert httpx.post(f"{address}/v1/chat/completions", json=chat()).json()["choices"][0]["message"]["refusal"]
        assert [event["outcome"] for event in httpx.get(f"{address}/events").json()] == ["refusal"]
    finally:
        process.kill()
        process.wait()

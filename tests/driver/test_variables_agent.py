"""The agent in the place of Ray's: variables are repeated as Ray's repeats them, all else is left to Ray's own."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_lines import children_named

from eibench_ray.driver import variables_agent
from eibench_ray.driver.ray_processes import _has_known_messages

CREATE, FORGET = "/get_or_create_runtime_env", "/delete_runtime_env_if_possible"

# In the place of Ray's own: it says how often it was started, and repeats what it is asked, backwards.
RAYS = """
import http.server, os, pathlib, sys, threading, time
pathlib.Path(sys.argv[1], "starts").open("a").write("one ")
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        token = self.headers["Authorization"]
        self.send_response(200 if token == "Bearer it" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])
port = next(part for part in sys.argv if part.startswith("--runtime-env-agent-port="))
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port.partition("=")[2])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
parent = os.getppid()
assert os.environ["RAY_RAYLET_PID"] == str(parent)  # or Ray's own ends within 25 s
while os.getppid() == parent:
    time.sleep(0.05)
"""


def created(**environment: Any) -> bytes:
    """Ray's request to make an environment."""
    from ray.core.generated.runtime_env_agent_pb2 import GetOrCreateRuntimeEnvRequest
    from ray.runtime_env import RuntimeEnv, RuntimeEnvConfig

    request = GetOrCreateRuntimeEnvRequest(
        serialized_runtime_env=RuntimeEnv(**environment).serialize(),
        runtime_env_config=RuntimeEnvConfig(setup_timeout_seconds=600).build_proto_runtime_env_config(),
        job_id=b"01000000",
        source_process="raylet",
    )
    return bytes(request.SerializeToString())


@pytest.mark.parametrize(
    "variables", [{"ONE": "1"}, {"LONG": "x" * 200, "TWO": "ä ${HOME} '\n"}, {"LONGER": "y" * 40_000}], ids=len
)
def test_variables_are_repeated_as_ray_repeats_them(variables: dict[str, str]) -> None:
    from ray._private.runtime_env.context import RuntimeEnvContext
    from ray.core.generated import runtime_env_agent_pb2 as messages

    assert _has_known_messages()
    told = variables_agent.answer(CREATE, created(env_vars=variables))
    reply = messages.GetOrCreateRuntimeEnvReply.FromString(told)
    assert (reply.status, reply.error_message) == (messages.AGENT_RPC_STATUS_OK, "")
    context = RuntimeEnvContext.deserialize(reply.serialized_runtime_env_context)
    assert vars(context) == vars(RuntimeEnvContext(env_vars=variables))
    asked = messages.GetOrCreateRuntimeEnvRequest.FromString(created(env_vars=variables))
    request = messages.DeleteRuntimeEnvIfPossibleRequest(serialized_runtime_env=asked.serialized_runtime_env)
    told = variables_agent.answer(FORGET, request.SerializeToString())
    assert messages.DeleteRuntimeEnvIfPossibleReply.FromString(told).status == messages.AGENT_RPC_STATUS_OK


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (CREATE, created(env_vars={"ONE": "1"}, py_executable="/somewhere/python")),
        (CREATE, created(uv={"packages": ["one"]})),
        (CREATE, created(env_vars={"ONE": "1"})[:-1]),
        (CREATE, created(env_vars={"ONE": "1"}) + b"\x80"),
        (CREATE, b""),
        (CREATE, b"\x0a\x02no"),
        ("/get_runtime_envs_info", b"\x08\x05"),
        ("/get_runtime_envs_info", created(env_vars={"ONE": "1"})),
    ],
)
def test_all_else_is_left_to_ray(path: str, message: bytes) -> None:
    assert variables_agent.answer(path, message) is None


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Callable[..., tuple[int, bytes]]]:
    """Asks an agent whose node is a shell that starts it; its end is the end of the node."""
    rays = tmp_path / "rays.py"
    rays.write_text(RAYS)
    options = ["--node-id=ab", "--node-ip-address=127.0.0.1", "--runtime-env-agent-port=0", f"--session-dir={tmp_path}"]
    own = [sys.executable, "-I", "-S", variables_agent.__file__, sys.executable, rays, tmp_path, *options]
    shell = ["sh", "-c", '"$@" & echo $!; wait', "sh", *map(str, own)]
    said = tmp_path / "runtime_env_agent_port_ab"
    told = {**os.environ, "RAY_RAYLET_PID": "1"}
    with subprocess.Popen(shell, stdout=subprocess.PIPE, text=True, env=told) as node:
        assert node.stdout is not None
        agent = int(node.stdout.readline())
        deadline = time.monotonic() + 60
        while not said.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)

        def post(path: str, message: bytes, token: str = "it") -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", int(said.read_text()), timeout=60)
            connection.request("POST", path, message, {"Authorization": f"Bearer {token}", "Connection": "keep-alive"})
            answered = connection.getresponse()
            return answered.status, answered.read()

        yield post
        node.send_signal(signal.SIGKILL)
        while is_running(agent):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_rays_own_agent_is_started_once_by_the_first_who_needs_it(
    ask: Callable[..., tuple[int, bytes]], tmp_path: Path
) -> None:
    code, told = ask(CREATE, created(env_vars={"ONE": "1"}))
    assert (code, told) == (200, variables_agent.answer(CREATE, created(env_vars={"ONE": "1"})))
    assert not (tmp_path / "starts").exists()
    wanted = [created(py_executable=f"/python{number}") for number in range(4)]
    with ThreadPoolExecutor() as threads:
        assert list(threads.map(lambda one: ask(CREATE, one), wanted)) == [(200, one[::-1]) for one in wanted]
    assert (tmp_path / "starts").read_text() == "one "
    assert ask(CREATE, wanted[0], token="another")[0] == 401
    assert ask(CREATE, created(env_vars={"ONE": "1"}))[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST",
        b"POST / HTTP/1.1\r\nHost: a\r\n",
        b"\r\n",
        b"POST\r\n\r\n",
        b"x" * 3_000_000,
        b"\xff \xff\r\n" * 500_000,
    ]
    + [b"POST / HTTP/1.1\r\nContent-Length: %s\r\n\r\n" % length for length in (b"7", b"99999999999")],
    ids=lambda sent: f"{len(sent)}-{sent[-12:]!r}",
)
def test_who_sends_something_else_and_leaves_costs_nothing(
    ask: Callable[..., tuple[int, bytes]], tmp_path: Path, sent: bytes
) -> None:
    port = int((tmp_path / "runtime_env_agent_port_ab").read_text())
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stranger, contextlib.suppress(ConnectionError):
        stranger.sendall(sent)
        stranger.shutdown(socket.SHUT_WR)
        stranger.recv(1 << 16)
    (agent,) = (one for one in children_named(psutil.Process(), "variables_agent") if one.name().startswith("python"))
    assert ask(CREATE, created(env_vars={"ONE": "1"}))[0] == 200
    deadline = time.monotonic() + 20
    while agent.num_threads() > 1:
        assert time.monotonic() < deadline, "one of its threads goes on"
        time.sleep(0.02)
    assert agent.memory_info().rss < 100e6

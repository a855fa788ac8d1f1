"""Stands in the place of Ray's runtime_env agent on a node, as a program: it repeats the variables of a process.

Ray's own imports Ray and aiohttp for that (0.45 CPU s), and no replica starts before. Where a replica wants more than
variables, Ray's own is started, and asked. A reply is made of its request alone, so no token is needed for it.
"""

import contextlib
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# Ray's name of the file in the session's folder that says where its agent listens.
_PORT_FILE = "runtime_env_agent_port_"
# Ray's own imports for a second, or for some on a busy machine.
_START_TIMEOUT_S = 60.0
# Bytes of a head, and of a body, as Ray's own agent takes them.
_LONGEST = 1 << 20


def answer(path: str, message: bytes) -> bytes | None:
    """The reply, as Ray's agent gives it; None where it is another request than to set or forget variables."""
    try:
        (told,) = (value for number, value in _fields(message) if number == 1)
        environment = json.loads(told)
    except (ValueError, IndexError):
        return None
    if not isinstance(environment, dict) or environment.keys() != {"env_vars"}:
        return None
    if path == "/delete_runtime_env_if_possible":
        return b""  # its status, which is the first of the list: all is well
    if path != "/get_or_create_runtime_env":
        return None
    context = {
        "command_prefix": [],
        "env_vars": environment["env_vars"],
        "py_executable": sys.executable,
        "override_worker_entrypoint": None,
        "java_jars": [],
    }
    text = json.dumps(context).encode()
    return bytes([3 << 3 | 2]) + _varint(len(text)) + text


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and values of a protobuf message's fields, which are all texts, bytes or messages."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        if tag & 7 != 2:
            raise ValueError("no field of bytes")
        length, at = _read_varint(message, at)
        if at + length > len(message):
            raise ValueError("cut off")
        yield tag >> 3, message[at : at + length]
        at += length


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    found = []
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


class RaysAgent:
    """Ray's own agent, from the first request that only it can answer."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._place: tuple[str, int] | None = None

    def ask(self, request: bytes) -> bytes:
        """Its whole response.

        Raises:
            OSError: it does not start.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                with socket.create_connection(self._find()) as asking:
                    asking.sendall(request)
                    return b"".join(iter(lambda: asking.recv(1 << 16), b""))
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _find(self) -> tuple[str, int]:
        """Its address; it is started by the first who asks."""
        with self._lock:
            if self._place is None:
                host = option(self._command, "--node-ip-address")
                with socket.create_server((host, 0)) as free:
                    port = free.getsockname()[1]
                told = "--runtime-env-agent-port="
                command = [f"{told}{port}" if part.startswith(told) else part for part in self._command]
                # It ends with the process of that id, which is to be its parent.
                subprocess.Popen(command, env={**os.environ, "RAY_RAYLET_PID": str(os.getpid())})
                self._place = host, port
            return self._place


class _Handler(socketserver.StreamRequestHandler):
    """One request per connection, as Ray's node sends them. Others on the network may send anything, or nothing."""

    timeout = 60.0

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # it does not send what it has begun, or is gone
            if (request := self._read()) is not None:
                self._reply(*request)

    def _read(self) -> tuple[list[bytes], bytes] | None:
        """Lines of the head, and the body; None where they are no request, are cut off, or are longer than Ray's."""
        head: list[bytes] = []
        left = _LONGEST
        while (line := self.rfile.readline(left)) != b"\r\n":
            head.append(line)
            left -= len(line)
            if not line or not left:
                return None
        lengths = [line.partition(b":")[2].strip() for line in head if line.lower().startswith(b"content-length:")]
        length = int(lengths[0]) if lengths and lengths[0].isdigit() else 0
        if not head or len(head[0].split()) < 2 or length > _LONGEST:
            return None
        body = self.rfile.read(length)
        return (head, body) if len(body) == length else None

    def _reply(self, head: list[bytes], body: bytes) -> None:
        reply = answer(head[0].split()[1].decode(errors="replace"), body)
        if reply is None:
            kept = [line for line in head if not line.lower().startswith(b"connection:")]
            assert isinstance(self.server, _Server)
            self.wfile.write(self.server.rays.ask(b"".join([*kept, b"Connection: close\r\n\r\n", body])))
        else:
            kind = b"Content-Type: application/octet-stream\r\nConnection: close"
            self.wfile.write(b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(reply), reply))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, command: list[str]) -> None:
        self.rays = RaysAgent(command)
        self._node = os.getppid()
        place = option(command, "--node-ip-address"), int(option(command, "--runtime-env-agent-port"))
        super().__init__(place, _Handler)

    def service_actions(self) -> None:
        """Ends with the node."""
        if os.getppid() != self._node:
            os._exit(0)


def option(command: list[str], name: str) -> str:
    """The value of an option of Ray's agent."""
    return next(part.partition("=")[2] for part in command if part.startswith(f"{name}="))


def main(command: list[str]) -> None:
    """Answers until the node is gone; `command` starts Ray's own agent."""
    with _Server(command) as server:
        said = Path(option(command, "--session-dir"), f"{_PORT_FILE}{option(command, '--node-id')}")
        part = said.with_name(f"{said.name}.part")
        part.write_text(str(server.server_address[1]))
        part.replace(said)  # the node reads it as soon as it is there
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=1.0)


if __name__ == "__main__":
    main(sys.argv[1:])

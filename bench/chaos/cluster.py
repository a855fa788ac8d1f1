"""A Ray cluster on this machine: a head without slots, and nodes with some, each `ray start --block` of its own."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import psutil

from bench.chaos.errors import ChaosError

# Custom resources that stand in for GPUs.
SLOTS = "slot"
START_TIMEOUT_S = 120.0
END_TIMEOUT_S = 30.0
# Ray's defaults wait a minute for a head that is gone, start Python on every core before anybody asks, and let
# replicas give way to everything else on the machine.
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_failure_threshold": "10",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
}


class RayCluster:
    """The cluster; its nodes are numbered, and a node that was killed may join again under its number.

    Args:
        folder: for logs and the token.
        scratch: for Ray's sockets; its path is short.
        num_nodes: beside the head.
        slots, cpus: of each of them.
        environment: of all processes.
    """

    def __init__(
        self, folder: Path, scratch: Path, num_nodes: int, slots: int, cpus: int, environment: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._scratch = scratch
        self._num_nodes, self._slots, self._cpus = num_nodes, slots, cpus
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(16))
        self.environment = {**environment, **_ENVIRONMENT, "RAY_AUTH_TOKEN_PATH": str(token)}
        self._port = free_port()
        self._given = {self._port}
        self._head: subprocess.Popen[bytes] | None = None
        self._nodes: dict[int, subprocess.Popen[bytes]] = {}
        self._last: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The value of `cluster.address`."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts whatever is not there, and returns once the nodes have joined."""
        if self._head is None:
            options = ["--head", f"--port={self._port}", f"--ray-client-server-port={self._new_port()}", "--num-cpus=1"]
            # A folder in the private one: Ray opens it to all users.
            options += ["--include-dashboard=false", "--no-monitor", f"--temp-dir={self._scratch / 'r'}"]
            self._head = self._launch("head", options)
            self._wait(self._head, lambda: _answers(self._port), "the head does not answer")
        for number in range(self._num_nodes):
            if number not in self._nodes:
                self.add_node(number)
        for number, node in self._nodes.items():
            self._wait(node, partial(_is_up, node), f"node {number} does not come up")

    def add_node(self, number: int) -> None:
        """Starts a node, which joins in a few seconds."""
        slots = json.dumps({SLOTS: self._slots})
        options = [f"--address={self.address}", f"--num-cpus={self._cpus}", f"--resources={slots}"]
        # Two that start at the same time would choose the same names for their sockets.
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._last is not None and not _has_socket(self._last) and time.monotonic() < deadline:
            time.sleep(0.1)
        self._nodes[number] = self._last = self._launch(f"node {number}", options)

    def raylet(self, number: int) -> psutil.Process | None:
        """The raylet of a node, if it is there."""
        return raylet_of(self._nodes[number]) if number in self._nodes else None

    @property
    def nodes(self) -> list[int]:
        """The nodes that are there."""
        return sorted(self._nodes)

    def gcs(self) -> psutil.Process | None:
        """The head's control process."""
        return _child(self._head, "gcs_server") if self._head else None

    def forget_node(self, number: int) -> None:
        """Clears away what is left of a node that was killed."""
        _end_family(self._nodes.pop(number))

    def revive(self) -> None:
        """Starts nodes again that did not come up, as happens on a busy machine."""
        for number, node in list(self._nodes.items()):
            if node.poll() is not None:
                self.forget_node(number)
                self.add_node(number)

    def stop(self) -> None:
        """Ends all of it."""
        for process in [*self._nodes.values(), *([self._head] if self._head else [])]:
            _end_family(process)
        self._nodes.clear()
        self._head = None

    def _new_port(self) -> int:
        """A port that nobody listens on, and that is none of the cluster's: one that is dead wants its own back."""
        while (port := free_port()) in self._given:
            continue
        self._given.add(port)
        return port

    def _launch(self, name: str, options: list[str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1"]
        command += [f"--dashboard-agent-listen-port={self._new_port()}", "--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--object-store-memory={100 << 20}", "--disable-usage-stats"]
        with (self._folder / "ray.log").open("ab") as log:
            log.write(f"--- {name}\n".encode())
            log.flush()
            return subprocess.Popen(
                [*command, *options], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def _wait(self, process: subprocess.Popen[bytes], is_there: Callable[[], bool], else_: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_there():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ChaosError(f"{else_} (exit code {process.poll()}): see {self._folder / 'ray.log'}")
            time.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def plain_environment() -> dict[str, str]:
    """This process's environment, without what slows Python down or tells Ray of another cluster."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "RAY_ADDRESS")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def _is_up(node: subprocess.Popen[bytes]) -> bool:
    """Whether a node's raylet is there, and the command that starts it has not given it up."""
    return raylet_of(node) is not None


def _has_socket(node: subprocess.Popen[bytes]) -> bool:
    """Whether a node's raylet listens, or will never."""
    if node.poll() is not None:
        return True
    option = "--raylet_socket_name="
    try:
        words = raylet.cmdline() if (raylet := raylet_of(node)) else []
    except psutil.NoSuchProcess:
        return True
    return any(word.startswith(option) and Path(word.removeprefix(option)).exists() for word in words)


def raylet_of(node: subprocess.Popen[bytes]) -> psutil.Process | None:
    """A node's raylet, if it is there."""
    return _child(node, "raylet")


def _child(parent: subprocess.Popen[bytes], name: str) -> psutil.Process | None:
    try:
        children = psutil.Process(parent.pid).children()
    except psutil.NoSuchProcess:
        return None
    for child in children:
        try:
            if child.name() == name and child.status() != psutil.STATUS_ZOMBIE:
                return child
        except psutil.NoSuchProcess:
            continue
    return None


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _end_family(process: subprocess.Popen[bytes]) -> None:
    """Kills Ray's own processes of a node, and not what its replicas have started: these have to go by themselves."""
    try:
        family = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    process.wait()
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=END_TIMEOUT_S)

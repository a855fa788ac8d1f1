"""The doctor on a real cluster of two nodes: it names the one that does not see the store."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from driving import RAY_START

# A cluster that wants no token, whatever other Rays of this user want.
ENVIRON = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1", "RAY_AUTH_MODE": "disabled"}


@contextmanager
def started(*command: str) -> Iterator[None]:
    """A node of Ray, while it runs."""
    quiet: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    node = subprocess.Popen(command, env=ENVIRON, **quiet)
    assert node.stdout is not None
    try:
        assert any("Ray runtime started" in line for line in node.stdout)
        yield
    finally:
        node.terminate()
        node.communicate(timeout=60)


@pytest.fixture
def head() -> Iterator[str]:
    """The address of a cluster of one node."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        options = [f"--port={port}", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}", "--num-cpus=2"]
        with started(*RAY_START, "--head", *options, "--no-monitor"):
            yield f"127.0.0.1:{port}"


@pytest.fixture
def blind(head: str, tmp_path: Path) -> Iterator[str]:
    """A second node, for which the folder `store` is another, empty one."""
    store = tmp_path / "store"
    store.mkdir()
    apart = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(store)]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a node that sees another folder takes a mount namespace, which only root may make")
    with started(*apart, *RAY_START, f"--address={head}", "--num-cpus=1"):
        yield str(store)


# The doctor, and what it asks the nodes about a store that is not made yet, while it has joined them.
DOCTOR = """
import json, sys
from eibench_ray.cli.app import main
from eibench_ray.driver import node_survey

ask_nodes, (new,) = node_survey._ask_nodes, sys.argv[1:2]
del sys.argv[1]

def ask_twice(root):
    print(json.dumps([report.store_failure or report.failure for report in ask_nodes(new)]))
    return ask_nodes(root)

node_survey._ask_nodes = ask_twice
main()
"""


def test_a_node_that_does_not_see_the_store_is_named(head: str, blind: str, tmp_path: Path) -> None:
    new = str(tmp_path / "new" / "store")  # it lies in a folder that both see
    command = [sys.executable, "-c", DOCTOR, new, "doctor", "--json", "--address", head, "--store", blind]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, check=False)
    failures, _, said = done.stdout.partition("\n")
    checks = [check for check in json.loads(said)["checks"] if check["name"].startswith(("ray cluster", "node "))]
    cluster, *nodes = checks
    assert (cluster["status"], cluster["detail"]) == ("warn", f"{head}: 2 nodes, 0 GPUs, no token")
    assert sorted(node["status"] for node in nodes) == ["fail", "warn"]
    lost, nice = sorted(nodes, key=lambda node: str(node["status"]))
    assert "RAY_worker_niceness=0" in nice["remedy"]
    assert "what this machine wrote is not seen there" in lost["detail"]
    assert "name a store.root that every node sees" in lost["remedy"]
    assert json.loads(failures) == ["", ""]
    assert not list(Path(blind).iterdir()), "nothing is left"
    assert {path.name for path in tmp_path.iterdir()} == {"store"}

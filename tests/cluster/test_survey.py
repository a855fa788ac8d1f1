"""The doctor on a real cluster of two nodes: it names the one that does not see the store."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.cli.doctor import examine_cluster
from eibench_ray.cluster.survey import survey

RAY = [sys.executable, "-m", "ray.scripts.scripts"]


@pytest.fixture
def head() -> Iterator[str]:
    """The address of a cluster of one node."""
    from ray.cluster_utils import Cluster

    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        options = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 << 20, "temp_dir": folder}
        cluster: Any = Cluster(initialize_head=True, head_node_args=options)
        try:
            yield cluster.address
        finally:
            cluster.shutdown()


@pytest.fixture
def blind(head: str, tmp_path: Path) -> Iterator[str]:
    """A second node, for which the folder `store` is another, empty one."""
    store = tmp_path / "store"
    store.mkdir()
    join = [*RAY, "start", f"--address={head}", "--num-cpus=1", "--object-store-memory=100000000", "--block"]
    apart = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(store)]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a node that sees another folder takes a mount namespace, which only root may make")
    environ = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    node = subprocess.Popen([*apart, *join], env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert node.stdout is not None
    try:
        assert any("Ray runtime started" in line for line in node.stdout)
        yield str(store)
    finally:
        node.terminate()
        node.communicate(timeout=30)


def test_a_node_that_does_not_see_the_store_is_named(head: str, blind: str, tmp_path: Path) -> None:
    cluster, *nodes = examine_cluster(head, blind, os.environ)
    assert (cluster.status, cluster.detail) == ("warn", f"{head}: 2 nodes, 0 GPUs, no token")
    assert sorted(node.status for node in nodes) == ["fail", "ok"]
    (lost,) = (node for node in nodes if node.status == "fail")
    assert lost.name.startswith("node ")
    assert "what this machine wrote is not seen there" in lost.detail
    assert "name a store.root that every node sees" in lost.remedy
    assert not list(Path(blind).iterdir()), "nothing is left"
    # One that is not made yet lies in a folder that both see.
    assert [node.store_failure for node in survey(head, str(tmp_path / "new" / "store"))] == ["", ""]
    assert {path.name for path in tmp_path.iterdir()} == {"store"}

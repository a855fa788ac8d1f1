"""The cluster's nodes: what each has, and that nothing of a replica is left on one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver import cluster_nodes
from eibench_ray.driver.cluster_nodes import NodeWatch, ask_node, find_remains, smallest_gpu_memory_gb, wait_until_gone
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.schedule.resources import Resources
from eibench_ray.worker.last_lines import MARK

CONFIG = ClusterConfig(name="local", num_cpus=2, num_gpus=3, gpu_resource="slot", gpu_memory_gb=40)


@pytest.fixture(scope="module")
def joined() -> Iterator[None]:
    with ray_session(CONFIG):
        yield


@pytest.mark.usefixtures("joined")
def test_a_node_is_met_once_with_what_it_has() -> None:
    async def look_twice() -> None:
        watch = NodeWatch(CONFIG)
        first, second = await watch.look(), await watch.look()
        (node,) = first.joined
        assert (node.total, node.gpu_memory_gb) == (Resources(2, 3), 40)
        assert 0.1 < node.ram_gb < psutil.virtual_memory().total / 1e9
        assert (first.left, second.joined, second.left) == ((), (), ())
        assert dict(watch.nodes) == {node.id: node}

    asyncio.run(look_twice())


@pytest.mark.usefixtures("joined")
def test_a_node_that_is_not_there_says_nothing() -> None:
    assert asyncio.run(ask_node("0" * 56, smallest_gpu_memory_gb, timeout_s=20)) is None


@pytest.mark.usefixtures("joined")
def test_what_outlives_a_replica_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_nodes, "GRACE_S", 0.2)
    sleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    started = [
        subprocess.Popen(sleep, env=os.environ | {MARK: mark}, stdout=subprocess.PIPE) for mark in ("run.1", "run.11")
    ]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        assert find_remains("run.1", (), must_kill=False) == f"processes {started[0].pid}"
        asyncio.run(wait_until_gone(ray.get_runtime_context().get_node_id(), "run.1", ()))
        assert find_remains("run.1", (), must_kill=False) == ""
        assert [process.poll() for process in started] == [-9, None]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def write_driver(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """A stand-in for NVIDIA's tool that says these lines."""
    tool = folder / "nvidia-smi"
    tool.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_memory_that_does_not_become_free_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_driver(tmp_path, monkeypatch, "0, GPU-aa, 600, 81559", "1, GPU-bb, 70000, 81559", "2, GPU-cc, 70000, 81559")
    assert find_remains("none", ("0",), must_kill=False) == ""
    assert find_remains("none", ("0", "GPU-bb"), must_kill=False) == "memory of GPUs GPU-bb"
    assert find_remains("none", ("MIG-unknown",), must_kill=False) == ""


def test_the_smallest_gpu_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_driver(tmp_path, monkeypatch, "0, GPU-aa, 0, 81559", "1, GPU-bb, 0, 24576")
    assert smallest_gpu_memory_gb() == pytest.approx(25.77, abs=0.01)


def test_a_machine_without_a_driver_has_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert smallest_gpu_memory_gb() == 0

"""GPUs and MIG devices by name, and which of them a replica has, through real Ray with stand-in GPUs."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import ray

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.actor_handle import ActorHandle
from eibench_ray.driver.cluster_nodes import find_remains
from eibench_ray.driver.gpu_devices import Device, find_device, list_devices, smallest_memory_gb
from eibench_ray.driver.placement_group import Placement
from eibench_ray.driver.ray_session import ray_session
from eibench_ray.schedule.resources import Need, Resources

MIB = 1 << 20
A, B = "MIG-3eb87630-93d5-b2b6-b8ff-9b359caf4ee2", "MIG-7b3c16d2-5d2c-5a5f-9a3a-9d9d9b8c1f00"


class NvmlError(Exception):
    """As NVIDIA's library raises them."""


@dataclass
class Memory:
    """MiB."""

    used: int
    total: int


def install(monkeypatch: pytest.MonkeyPatch, gpus: list[dict[str, Any]]) -> None:
    """A stand-in for NVIDIA's library: GPUs with `uuid`, `memory` (used and total MiB) and `parts` like them."""

    def part(gpu: dict[str, Any], number: int) -> dict[str, Any]:
        parts: list[dict[str, Any] | None] = gpu.get("parts", [])
        if number >= len(parts) or (found := parts[number]) is None:
            raise NvmlError("not found")
        return found

    def most(gpu: dict[str, Any]) -> int:
        if gpu.get("is_old"):
            raise NvmlError("not supported")
        return 7

    module: Any = ModuleType("pynvml")
    module.NVMLError = NvmlError
    module.nvmlInit = module.nvmlShutdown = lambda: None
    module.nvmlDeviceGetCount = lambda: len(gpus)
    module.nvmlDeviceGetHandleByIndex = lambda index: gpus[index]
    module.nvmlDeviceGetUUID = lambda gpu: gpu["uuid"]
    module.nvmlDeviceGetMaxMigDeviceCount = most
    module.nvmlDeviceGetMigDeviceHandleByIndex = part
    module.nvmlDeviceGetMemoryInfo = lambda gpu: Memory(*(amount * MIB for amount in gpu["memory"]))
    monkeypatch.setitem(sys.modules, "pynvml", module)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs, of which the second is divided into two devices, one of them in use."""
    parts = [{"uuid": A.encode(), "memory": (9000, 20000)}, None, {"uuid": B, "memory": (10, 5000)}]
    install(
        monkeypatch,
        [
            {"uuid": "GPU-aa", "memory": (100, 80000), "is_old": True},
            {"uuid": "GPU-bb", "memory": (9000, 80000), "parts": parts},
        ],
    )


@pytest.mark.usefixtures("cut")
def test_mig_devices_are_listed_with_their_own_memory() -> None:
    assert list_devices() == [
        Device(("0", "GPU-aa"), 100, 80000),
        Device(("1", "GPU-bb"), 9000, 80000, is_cut=True),
        Device((A,), 9000, 20000),
        Device((B,), 10, 5000),
    ]


@pytest.mark.usefixtures("cut")
def test_a_replicas_mig_device_is_waited_for() -> None:
    assert find_remains("none", (A,), must_kill=False) == f"memory of GPUs {A}"
    assert find_remains("none", (B,), must_kill=False) == ""
    assert find_remains("none", (A[:12], "MIG-unknown"), must_kill=False) == f"memory of GPUs {A[:12]}"


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize(
    ("visible", "total_mb"), [(None, 5000), ("", 5000), (A, 20000), (f"{A},{B}", 5000), ("0", 80000), ("GPU-b", 80000)]
)
def test_the_smallest_device_that_can_be_had_counts(visible: str | None, total_mb: int) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert smallest_memory_gb(list_devices(), environ) == pytest.approx(total_mb * MIB / 1e9)


def test_a_number_is_no_beginning_of_another() -> None:
    devices = [Device(("1", "GPU-aa"), 0, 1), Device(("10", "GPU-ab"), 0, 1)]
    assert find_device("1", devices) == devices[0]
    assert find_device("GPU-a", devices) is None  # of two
    assert find_device("", devices) is None


class Handle(ActorHandle[Any]):
    """One whose actor dies while it loads."""

    def create(self, spec: Any, options: dict[str, Any]) -> Any:  # noqa: ARG002
        raise RuntimeError("dead while it loads")


def test_the_gpus_of_all_stages_are_known_before_anything_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[str, tuple[str, ...]]] = []

    async def wait_until_gone(node: str, mark: str, gpus: tuple[str, ...]) -> str:  # noqa: ARG001
        waited.append((node, gpus))
        return ""

    async def no_check(*_: Any) -> None:
        pass

    monkeypatch.setattr("eibench_ray.driver.actor_handle.wait_until_gone", wait_until_gone)
    monkeypatch.setattr("eibench_ray.driver.actor_handle.check_python", no_check)
    monkeypatch.setattr("eibench_ray.driver.actor_handle.replica_runtime_env", lambda *_: {"env_vars": {}})
    monkeypatch.setattr("eibench_ray.driver.actor_handle._spread", lambda spec, _: spec)
    config = ClusterConfig(name="local", num_cpus=4, num_gpus=4)

    async def place(node: str, bundles: tuple[Resources, ...]) -> dict[str, tuple[str, ...]]:
        placement = Placement(Need(bundles), (node,) * len(bundles), "GPU", "test")
        handle = Handle(0, None, config, placement, "mark")  # type: ignore[arg-type]
        await handle.place(60, [])
        with pytest.raises(RuntimeError, match="dead while it loads"):
            await handle.start()
        await handle.reap()
        await handle.release()
        return dict(handle.gpus)

    with ray_session(config):
        node = ray.get_runtime_context().get_node_id()
        of_one = asyncio.run(place(node, (Resources(1, 2),)))
        of_two = asyncio.run(place(node, (Resources(1, 2), Resources(1, 2))))  # stages of a pipeline
    assert (len(set(of_one[node])), len(set(of_two[node]))) == (2, 4)
    assert list(of_one) == list(of_two) == [node]
    assert waited == [(node, of_one[node]), (node, of_two[node])]

"""Use of a replica's GPUs, asked of a stand-in with the functions of NVIDIA's library, as Ray ships it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
from ray._private.thirdparty import pynvml as real

from eibench_ray.worker import gpu_meter
from eibench_ray.worker.gpu_meter import GpuMeter, GpuUse, _look, _open

GB = 1_000_000_000


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library with its own signatures: GPU 0 computes now and then, a MIG device does not say, GPU 7 is broken."""
    fake = create_autospec(real)
    fake.NVMLError = real.NVMLError
    percents = iter([100, 50, *[0] * 1000])

    def by_index(index: int) -> str:
        if index == 9:
            raise real.NVMLError(real.NVML_ERROR_INVALID_ARGUMENT)
        return f"GPU {index}"

    def memory(handle: str) -> SimpleNamespace:
        if handle == "GPU 7":
            raise real.NVMLError(real.NVML_ERROR_GPU_IS_LOST)
        return SimpleNamespace(used=20 * GB, total=80 * GB)

    def rates(handle: str) -> SimpleNamespace:
        if handle.startswith("MIG"):
            raise real.NVMLError(real.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=next(percents), memory=1)

    fake.nvmlDeviceGetHandleByIndex.side_effect = by_index
    fake.nvmlDeviceGetHandleByUUID.side_effect = lambda uuid: uuid
    fake.nvmlDeviceGetMemoryInfo.side_effect = memory
    fake.nvmlDeviceGetUtilizationRates.side_effect = rates
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(gpu_meter, "EVERY_S", 0.001)
    monkeypatch.setattr(gpu_meter, "WINDOW", 3)
    return fake


def wait_until(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert is_true()


def test_the_gpus_that_can_be_looked_at_are_told_until_the_replica_ends(nvml: Any) -> None:
    meter = GpuMeter("10.0.0.1", ("0", "7", "9", "MIG-ab"))
    wait_until(lambda: meter.uses[0].percent == 0.0 if meter.uses else False)  # the two busy seconds are over
    assert meter.uses == (GpuUse("10.0.0.1:0", 0.0, 20.0), GpuUse("10.0.0.1:MIG-ab", None, 20.0))
    meter.close()
    wait_until(lambda: nvml.nvmlShutdown.called)


def test_use_is_the_mean_of_the_last_looks(nvml: Any) -> None:
    device = _open(nvml, "0", "here:0")
    assert device is not None
    seen = []
    for _ in range(5):
        assert _look(nvml, device)
        seen.append(device.use.percent)
    assert seen == [100, 75, 50, pytest.approx(50 / 3), 0]  # of 100, 50, 0, 0, 0 the last three


def test_a_machine_without_the_library_or_its_driver_has_no_uses(nvml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.nvmlInit.side_effect = real.NVMLError(real.NVML_ERROR_DRIVER_NOT_LOADED)
    broken = GpuMeter("10.0.0.1", ("0",))
    wait_until(lambda: nvml.nvmlInit.called)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    absent = GpuMeter("10.0.0.1", ("0",))
    time.sleep(0.02)
    assert broken.uses == absent.uses == ()


def test_a_replica_without_gpus_asks_nobody(nvml: Any) -> None:
    assert GpuMeter("10.0.0.1", ()).uses == ()
    assert not nvml.nvmlInit.called

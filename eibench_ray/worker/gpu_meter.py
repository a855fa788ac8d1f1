"""Use of a replica's GPUs, as NVIDIA's library (NVML) tells it: how busy they are, and how full."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

EVERY_S = 1.0
# As the rates of tokens: a GPU that waits for a slice is not idle.
WINDOW = 30


@dataclass(frozen=True, slots=True)
class GpuUse:
    """One GPU of a replica at one moment.

    Attributes:
        place: the address of its node and its index or UUID, as `10.0.0.1:0`.
        percent: share of the last half minute in which it computed, 0 to 100; None where nobody says (MIG devices).
        memory_gb: memory that is taken, by whomever.
    """

    place: str
    percent: float | None
    memory_gb: float


@dataclass(slots=True)
class _Device:
    """One GPU under watch."""

    handle: Any
    use: GpuUse
    percents: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))


class GpuMeter:
    """Looks at some GPUs of this machine once a second, on a thread of its own: a broken driver blocks who asks it.

    Args:
        node: the machine's address.
        gpus: their indices or UUIDs.
    """

    def __init__(self, node: str, gpus: Sequence[str]) -> None:
        self._places = {gpu: f"{node}:{gpu}" for gpu in gpus}
        self._devices: list[_Device] = []
        self._ended = threading.Event()
        if gpus:
            threading.Thread(target=self._follow, name="GPU use", daemon=True).start()

    @property
    def uses(self) -> tuple[GpuUse, ...]:
        """The GPUs as last seen; none where there is no NVIDIA driver, or nothing was seen yet."""
        return tuple(device.use for device in self._devices)

    def close(self) -> None:
        """Looks no more."""
        self._ended.set()

    def _follow(self) -> None:
        try:
            import pynvml  # of nvidia-ml-py, which comes with the CUDA build of vLLM

            pynvml.nvmlInit()
        except Exception:  # no library, or no driver: it says nothing either way
            return
        devices = [device for gpu, place in self._places.items() if (device := _open(pynvml, gpu, place))]
        while not self._ended.is_set():
            self._devices = [device for device in devices if _look(pynvml, device)]
            self._ended.wait(EVERY_S)
        pynvml.nvmlShutdown()


def _open(nvml: Any, gpu: str, place: str) -> _Device | None:
    """A GPU by its index or UUID; None where the library knows none of the name."""
    try:
        found = nvml.nvmlDeviceGetHandleByIndex(int(gpu)) if gpu.isdigit() else nvml.nvmlDeviceGetHandleByUUID(gpu)
    except nvml.NVMLError:
        return None
    return _Device(found, GpuUse(place, None, 0.0))


def _look(nvml: Any, device: _Device) -> bool:
    """Whether the GPU could be looked at."""
    try:
        memory_gb = nvml.nvmlDeviceGetMemoryInfo(device.handle).used / 1e9
    except nvml.NVMLError:
        return False
    try:
        device.percents.append(nvml.nvmlDeviceGetUtilizationRates(device.handle).gpu)
    except nvml.NVMLError:
        device.percents.clear()
    device.use = GpuUse(device.use.place, fmean(device.percents) if device.percents else None, memory_gb)
    return True

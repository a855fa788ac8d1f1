"""The memory of this machine's GPUs and of their MIG devices, by every name under which Ray and CUDA know them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Below this share a GPU counts as empty: its driver keeps some hundred MB.
EMPTY_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, or a MIG device: what a process of CUDA's sees as one."""

    names: tuple[str, ...]  # its index and UUID; of a MIG device, its UUID
    used_mb: float
    total_mb: float
    is_cut: bool = False  # a GPU that is divided into MIG devices, so that no process has it whole

    @property
    def is_empty(self) -> bool:
        """Whether nobody uses its memory."""
        return self.used_mb <= EMPTY_SHARE * self.total_mb


def list_devices() -> list[Device]:
    """This machine's devices, GPUs before the MIG devices on them; none without an NVIDIA driver.

    `nvidia-smi` gives no figures of a MIG device in a list, so that its library is asked; without that, GPUs alone.
    """
    found = list(_devices_of_library())
    return found or list(_devices_of_tool())


def find_device(name: str, devices: Sequence[Device]) -> Device | None:
    """The device of a name; CUDA_VISIBLE_DEVICES may hold the beginning of a UUID."""
    for device in devices:
        if name in device.names:
            return device
    matching = [
        device
        for device in devices
        if not name.isdigit() and name and any(known.startswith(name) for known in device.names)
    ]
    return matching[0] if len(matching) == 1 else None


def visible_devices(devices: Sequence[Device], environ: Mapping[str, str] = os.environ) -> list[Device]:
    """The devices that a process here may get.

    Args:
        devices: of this machine.
        environ: CUDA_VISIBLE_DEVICES in it says which ones; without it, all that are not divided.
    """
    named = [find_device(name.strip(), devices) for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return [device for device in named if device] or [device for device in devices if not device.is_cut]


def smallest_memory_gb(devices: Sequence[Device], environ: Mapping[str, str] = os.environ) -> float:
    """GB of the smallest device that a process here may get; 0 where nothing is known."""
    visible = visible_devices(devices, environ)
    return min((device.total_mb * (1 << 20) / 1e9 for device in visible), default=0.0)


def _devices_of_library() -> Iterator[Device]:
    """Devices as NVIDIA's library lists them; none where it is not there, or fails."""
    try:
        import pynvml  # of nvidia-ml-py, which comes with the CUDA build of vLLM

        pynvml.nvmlInit()
    except Exception:
        return
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            parts = list(_parts_of(pynvml, handle))
            names = (str(index), _text(pynvml.nvmlDeviceGetUUID(handle)))
            yield _device(pynvml, handle, names, is_cut=bool(parts))
            for part in parts:
                yield _device(pynvml, part, (_text(pynvml.nvmlDeviceGetUUID(part)),))
    except pynvml.NVMLError:
        return
    finally:
        pynvml.nvmlShutdown()


def _parts_of(nvml: Any, handle: Any) -> Iterator[Any]:
    """Handles of a GPU's MIG devices."""
    try:
        most = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except nvml.NVMLError:
        return
    for number in range(most):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError:  # numbers have gaps
            continue


def _device(nvml: Any, handle: Any, names: tuple[str, ...], *, is_cut: bool = False) -> Device:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Device(names, memory.used / (1 << 20), memory.total / (1 << 20), is_cut)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _devices_of_tool() -> Iterator[Device]:
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
        rows = [[field.strip() for field in line.split(",")] for line in lines]
        yield from [Device((row[0], row[1]), float(row[2]), float(row[3])) for row in rows]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return

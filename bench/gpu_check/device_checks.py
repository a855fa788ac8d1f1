"""Memory of the GPUs as the driver reads it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from bench.gpu_check.machine import MB, torch_with_gpu, used_mb
from eibench_ray.driver.gpu_devices import list_devices

_HOLD = "import torch, time; held = torch.ones(1 << 30, device='cuda'); print('held', flush=True); time.sleep(600)"
_HELD_MB = 4096


def check_devices(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001 - of devices alone
    """Compares the driver's figures with torch's."""
    torch = torch_with_gpu()
    devices = [one for one in list_devices() if not one.is_cut]
    if not devices:
        raise RuntimeError("torch sees a GPU, and neither NVIDIA's library nor nvidia-smi gives its memory")
    numbers = range(torch.cuda.device_count())
    totals = [torch.cuda.get_device_properties(number).total_memory / MB for number in numbers]
    # The driver keeps some hundred MB of what it reads as the total.
    if len(devices) == len(totals) and any(
        not 0.97 < seen / one.total_mb <= 1.001 for one, seen in zip(devices, totals, strict=True)
    ):
        raise RuntimeError(f"the driver reads {[one.total_mb for one in devices]} MB and torch {totals}")
    return {
        "names": [torch.cuda.get_device_name(number) for number in numbers],
        "total_mb": [round(one.total_mb) for one in devices],
        "used_mb": [round(one.used_mb) for one in devices],
        "torch_total_mb": [round(total) for total in totals],
    }


def check_killed_child(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001 - of devices alone
    """Times how long a killed process's memory is still in use."""
    torch_with_gpu()
    before = used_mb()
    child = subprocess.Popen([sys.executable, "-c", _HOLD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = child.stdout.readline()
    held = used_mb() - before
    killed = time.monotonic()
    child.kill()
    child.wait()
    reaped = time.monotonic()
    if not said or held < _HELD_MB:
        raise RuntimeError(f"{_HELD_MB:,} MB were to be held, and only {held:.0f} were seen")
    while used_mb() - before > held / 10:
        if time.monotonic() - killed > 30:
            raise RuntimeError(f"{used_mb() - before:.0f} of {held:.0f} MB are still in use 30 s after the kill")
        time.sleep(0.01)
    freed = time.monotonic()
    return {"held_mb": round(held), "reaped_s": round(reaped - killed, 3), "seen_free_s": round(freed - killed, 3)}

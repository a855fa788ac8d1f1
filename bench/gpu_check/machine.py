"""The GPUs of the machine that is checked."""

from __future__ import annotations

from typing import Any

from eibench_ray.driver.gpu_devices import list_devices

MB = 1 << 20


class SkippedError(Exception):
    """A check cannot run on this machine."""


def torch_with_gpu() -> Any:
    """Torch, where it has a GPU.

    Raises:
        SkippedError: it has none.
    """
    import torch

    if not torch.cuda.is_available():
        raise SkippedError(f"torch {torch.__version__} sees no GPU")
    return torch


def used_mb() -> float:
    """MB of all GPUs' memory in use."""
    return sum(one.used_mb for one in list_devices() if not one.is_cut)

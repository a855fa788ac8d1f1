"""GPUs that are not there: a driver's library without a device, and a platform that answers for one."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eibench_ray.weights.memory_estimate import GB

_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as vLLM asks about it."""

    title: str
    device_name: str
    capability: tuple[int, int]
    memory_gb: float  # as cluster.expect has it


GPUS = {
    "a100": Gpu("A100 80 GB", "NVIDIA A100-SXM4-80GB", (8, 0), 80),
    "h100": Gpu("H100 80 GB", "NVIDIA H100 80GB HBM3", (9, 0), 80),
    "h200": Gpu("H200 141 GB", "NVIDIA H200", (9, 0), 141),
}


def make_driver(folder: Path) -> None:
    """Builds a libcuda.so.1 with each function that torch and vLLM want to find as they are imported.

    Raises:
        CalledProcessError: there is no compiler.
    """
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.origin is not None
    site = Path(found.origin).parents[1]
    names: set[str] = set()
    for pattern in ("vllm/*.so", "torch/lib/libtorch_cuda*.so", "torch/lib/libc10_cuda.so"):
        for library in site.glob(pattern):
            asked = ["nm", "-D", "--undefined-only", library]
            listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
            words = (line.split()[-1].partition("@")[0] for line in listed.splitlines())
            names |= {word for word in words if word.startswith("cu") and word[2:3].isupper()}
    source = folder / "driver.c"
    source.write_text("".join(f"int {name}(void) {{ return {_NO_DEVICE}; }}\n" for name in sorted(names)))
    library = folder / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, source], check=True)


def pretend(gpu: Gpu) -> None:
    """Has vLLM take this machine for one with eight such GPUs; it is not imported before."""
    from triton.backends.nvidia.driver import CudaDriver

    # Asked as vLLM is imported: without Triton it would take an older runner.
    CudaDriver.is_active = staticmethod(lambda: True)
    from vllm import platforms
    from vllm.platforms import cuda
    from vllm.platforms.interface import DeviceCapability

    class StandIn(cuda.NonNvmlCudaPlatform):  # type: ignore[misc]
        """The CUDA platform, but for what it would ask the driver."""

        @classmethod
        def get_device_capability(cls, device_id: int = 0) -> Any:  # noqa: ARG003
            return DeviceCapability(*gpu.capability)

        @classmethod
        def get_device_name(cls, device_id: int = 0) -> str:  # noqa: ARG003
            return gpu.device_name

        @classmethod
        def get_device_total_memory(cls, device_id: int = 0) -> int:  # noqa: ARG003
            return int(gpu.memory_gb * GB)

        @classmethod
        def is_fully_connected(cls, device_ids: Sequence[int]) -> bool:  # noqa: ARG003
            return True

        @classmethod
        def device_count(cls) -> int:
            return 8

    platforms._current_platform = StandIn()
    from vllm.model_executor.models import registry

    # vLLM looks at each class of models in a process of its own, which would ask the real platform, for 10 s each.
    registry._run_in_subprocess = lambda look: look()

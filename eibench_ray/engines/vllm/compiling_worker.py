"""vLLM's worker, which compiles in turns with those of other replicas. It runs in vLLM's processes and imports vllm.

vLLM 0.32 compiles a model as it measures the memory that it takes, for 30 to 90 s on a GPU, and keeps the result below
VLLM_CACHE_ROOT by all that it depends on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from vllm import envs
from vllm.distributed.parallel_state import get_world_group
from vllm.platforms import current_platform

from eibench_ray.engines.vllm.compile_turn import compile_turn

if current_platform.is_cpu():
    from vllm.v1.worker.cpu_worker import CPUWorker as PlatformWorker
else:
    from vllm.v1.worker.gpu_worker import Worker as PlatformWorker


class CompilingWorker(PlatformWorker):  # type: ignore[misc]
    """The platform's worker; of several that would compile the same, the first does, and the others load it."""

    def determine_available_memory(self) -> int:
        """Bytes for the KV cache; the model is compiled meanwhile."""
        parallel = self.vllm_config.parallel_config
        # Copies that share experts step together, so one must not wait while another computes.
        if parallel.data_parallel_size > 1:
            return int(super().determine_available_memory())
        group = get_world_group() if parallel.world_size > 1 else None
        if group is None or group.rank_in_group == 0:
            # One lock for all processes of a copy, taken before they do anything together: with one each, two copies
            # would wait for each other.
            with compile_turn(Path(envs.VLLM_CACHE_ROOT) / "torch_compile_cache", self._compile_key()):
                if group is not None:
                    group.barrier()
                return int(super().determine_available_memory())
        group.barrier()
        return int(super().determine_available_memory())

    def _compile_key(self) -> str:
        """Digest of vLLM's version, its configuration as far as it changes the graph, and the device."""
        known = f"{self.vllm_config.compute_hash()} {current_platform.get_device_name()}"
        return hashlib.sha256(known.encode()).hexdigest()[:20]

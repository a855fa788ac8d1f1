"""The checks by their names, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.gpu_check.device_checks import check_devices, check_killed_child
from bench.gpu_check.mask_check import check_masks
from bench.gpu_check.transformers_checks import check_halved_batches, check_pictures, check_same_tokens
from bench.gpu_check.vllm_checks import check_vllm_batches, check_vllm_loads, check_vllm_tensor_parallel


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its deadline.

    Attributes:
        measure: figures for a checkpoint. It raises SkippedError where the machine lacks something.
        most_s: seconds after which it has failed.
    """

    measure: Callable[[str], Mapping[str, Any]]
    most_s: float


CHECKS = {
    "devices": Check(check_devices, 40),
    "killed_child": Check(check_killed_child, 60),
    "same_tokens": Check(check_same_tokens, 90),
    "halved_batches": Check(check_halved_batches, 90),
    "masks": Check(check_masks, 60),
    "pictures": Check(check_pictures, 90),
    "vllm_loads": Check(check_vllm_loads, 300),
    "vllm_batches": Check(check_vllm_batches, 240),
    "vllm_tensor_parallel": Check(check_vllm_tensor_parallel, 120),
}

"""vLLM's loads, alone and side by side, and its speed by what a batch and a step hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.gpu_check.machine import SkippedError, torch_with_gpu
from eibench_ray.driver.gpu_devices import list_devices


def check_vllm_loads(checkpoint: str) -> Mapping[str, Any]:
    """Times replicas that compile, that find it compiled, and that start together; the engine is compiled once."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as cache:
        for name, count in (("cold", 1), ("warm", 1), ("side_by_side_warm", 2)):
            found[name] = load_replicas(checkpoint, [{}] * count, cache)
        _expect_one(cache, found)
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as cache:
        found["side_by_side_cold"] = load_replicas(checkpoint, [{}] * 2, cache)
        _expect_one(cache, found)
    return {f"{name}_s": [one["load_s"] for one in loads] for name, loads in found.items()}


def _expect_one(cache: str, found: Mapping[str, Any]) -> None:
    compiled = list(Path(cache).rglob("*.compiled"))
    if len(compiled) != 1:
        raise RuntimeError(f"replicas of one engine compiled {len(compiled)} times: {found}")


def check_vllm_batches(checkpoint: str) -> Mapping[str, Any]:
    """Compares batches, and steps of 2,048 tokens with those of vLLM's own choice."""
    import torch

    sizes = (64, 256, 1024) if torch.cuda.is_available() else (4, 16)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as cache:
        for size in sizes:
            (one,) = load_replicas(checkpoint, [{"max_num_seqs": size}], cache)
            found |= {f"tokens_per_s_of_{size}": one["tokens_per_s"], "step_tokens": one["step_tokens"]}
        small = {"max_num_seqs": sizes[1], "args": {"max_num_batched_tokens": 2048}}
        (one,) = load_replicas(checkpoint, [small], cache)
    assert one["step_tokens"] == 2048
    return found | {f"tokens_per_s_of_{sizes[1]}_in_steps_of_2048": one["tokens_per_s"]}


def check_vllm_tensor_parallel(checkpoint: str) -> Mapping[str, Any]:
    """Compares a replica on two GPUs with one on one."""
    torch = torch_with_gpu()
    if torch.cuda.device_count() < 2:
        raise SkippedError("there is one GPU, and two are needed")
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as cache:
        one, two = (load_replicas(checkpoint, [{"tensor_parallel": number}], cache)[0] for number in (1, 2))
    return {"tokens_per_s_on_1": one["tokens_per_s"], "tokens_per_s_on_2": two["tokens_per_s"]}


def load_replicas(checkpoint: str, replicas: Sequence[Mapping[str, Any]], cache: str) -> list[Any]:
    """Measurements of replicas that start at the same time, each on a GPU of its own where there are enough.

    Args:
        checkpoint: a recipe's name, or a folder.
        replicas: the keys of each one's engine.
        cache: folder that takes what vLLM compiles.

    Raises:
        SkippedError: vLLM is not installed.
        RuntimeError: a replica did not load, or did not answer.
    """
    from eibench_ray.engines.python_environment import vllm_version

    if vllm_version() is None:
        raise SkippedError("vLLM is not installed")
    has_own = len(replicas) > 1 and len(list_devices()) >= len(replicas)
    shared_by = 1 if has_own else len(replicas)
    started = []
    for number, keys in enumerate(replicas):
        own = {"CUDA_VISIBLE_DEVICES": str(number)} if has_own else {}
        options = json.dumps({"checkpoint": checkpoint, "keys": dict(keys), "shared_by": shared_by})
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed below, once its process has ended
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.gpu_check.vllm_replica", options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | own | {"VLLM_CACHE_ROOT": cache},
        )
        started.append((process, log))
    measured, failed = [], ""
    for process, log in started:
        said, _ = process.communicate()
        with log:
            log.seek(0)
            if process.returncode or not said:
                failed = failed or " ".join(log.read()[-500:].split())
            else:
                measured.append(json.loads(said.splitlines()[-1]))
    if failed:
        raise RuntimeError(f"a replica did not load: {failed}")
    return measured

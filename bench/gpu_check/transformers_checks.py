"""Transformers on a GPU: the same tokens as on the CPU, batches that the memory is too small for, pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.gpu_check.asked_engine import answer, requests
from bench.gpu_check.machine import MB, SkippedError, torch_with_gpu

if TYPE_CHECKING:
    from eibench_ray.engines.engine import Engine

_SEES = "tiny_idefics3"


def check_same_tokens(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001 - of small ones
    """Counts the equal replies of two small checkpoints."""
    torch_with_gpu()
    found = {}
    for name in ("tiny_llama", _SEES):
        asked = requests(8, 32, sees=name == _SEES)
        texts = [[reply.text for reply in answer(transformers(name, device), asked)[1]] for device in ("cpu", "cuda")]
        equal = sum(one == other for one, other in zip(*texts, strict=True))
        found[f"{name}_equal"] = equal
        if equal < len(asked):
            raise RuntimeError(f"{name}: {equal} of {len(asked)} replies are the same on the CPU and on CUDA: {texts}")
    return found | {"rows": 8, "tokens": 32}


def check_halved_batches(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001 - of a small one
    """Takes memory away until 256 rows are too many for it, but one is not."""
    torch = torch_with_gpu()
    halved: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: halved.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("eibench_ray").addHandler(handler)
    total = torch.cuda.get_device_properties(0).total_memory
    for memory_mb in (512, 256, 128, 64):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(memory_mb * MB / total)
        replies = answer(transformers(_SEES, "cuda", 256), requests(256, 16, sees=True))[1]
        if any(reply.completion_tokens == 0 for reply in replies):
            raise RuntimeError("a row has no reply")
        if halved:
            return {"rows": len(replies), "memory_mb": memory_mb, "said": halved[:5]}
    raise SkippedError("256 rows of the small checkpoint fit into 64 MB: no batch was too large")


def check_pictures(checkpoint: str) -> Mapping[str, Any]:  # noqa: ARG001 - of a small one
    """Pictures per second, decoded, prepared and answered with one token."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    asked = requests(64 if device == "cpu" else 1024, 1, sees=True)
    took_s, _ = answer(transformers(_SEES, device, 64), asked)
    return {"device": device, "pictures": len(asked), "pictures_per_s": round(len(asked) / took_s, 1)}


def transformers(checkpoint: str, device: Any, batch: int = 16) -> Engine:
    """A transformers engine on a small checkpoint in float32, which has not started."""
    from eibench_ray.engines.transformers.transformers_engine import TransformersEngine
    from eibench_ray.engines.transformers.transformers_section import TransformersSection
    from eibench_ray.weights.build import build_checkpoint

    build_checkpoint(checkpoint)
    keys = {"kind": "transformers", "source": f"checkpoint:{checkpoint}", "dtype": "float32", "max_num_seqs": batch}
    return TransformersEngine(TransformersSection.model_validate(keys), device)

"""Lets torchvision's build for CUDA be imported beside a torch for the CPU.

The package index has torchvision for CUDA alone, and with it vLLM and transformers prepare the pictures of LLaVA or
Qwen2-VL. Its Python half runs anywhere. Its compiled half cannot be loaded without CUDA, and then its import fails on
two operators that nobody has declared ("operator torchvision::nms does not exist"). Here they are declared, and no
more than that: whoever calls one is told that it is missing.

torch calls `declare_operators` at the end of its own import (entry point `torch.backends` in pyproject.toml), in each
process, those of replicas included. Where torch has CUDA, or torchvision is built for the CPU, nothing is done.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # what is declared lasts as long as its library object


def declare_operators() -> None:
    """Declares torchvision's operators where its compiled half cannot; harmless when called again."""
    import torch

    if _declared or torch.version.cuda or torch.version.hip or not _is_built_for_cuda():
        return
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)


def _is_built_for_cuda() -> bool:
    """Whether the installed torchvision is (`__version__ = '0.28.0+cu130'`); its metadata does not say."""
    spec = find_spec("torchvision")
    version = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    return version is not None and version.is_file() and "+cu" in version.read_text(encoding="utf-8")

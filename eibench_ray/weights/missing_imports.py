"""Packages that a checkpoint's processor, tokenizer or code imports, from its small files; none is imported here."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eibench_ray.versions import install_command
from eibench_ray.weights.weights_request import WeightsRequest

# By `model_type`: what transformers 5 and vLLM 0.32 need beyond what they install, to load the processor or the model.
_BY_TYPE = {
    "smolvlm": ("num2words",),
    **dict.fromkeys(("llava", "llava_next", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "video_llava"), ("torchvision",)),
}
# What to install for a module of another name.
_DISTRIBUTIONS = {
    **{"google.protobuf": "protobuf", "PIL": "pillow", "cv2": "opencv-python-headless", "sklearn": "scikit-learn"},
    **{"yaml": "pyyaml", "skimage": "scikit-image", "flash_attn": "flash-attn"},
}
_SENTENCEPIECE = ("sentencepiece", "google.protobuf")


def missing_packages(folder: Path, request: WeightsRequest) -> list[str]:
    """Packages to install before a checkpoint loads in this Python, sorted: `["num2words"]`."""
    return sorted({_DISTRIBUTIONS.get(name, name) for name in _needed(folder, request) if not _is_here(name)})


def explain_missing(packages: list[str]) -> str:
    """Remedy for missing packages, for this Python."""
    return f"install {'it' if len(packages) == 1 else 'them'}: {install_command(*packages)}"


def _needed(folder: Path, request: WeightsRequest) -> Iterator[str]:
    """Names of modules."""
    yield from _BY_TYPE.get(str(_read(folder / "config.json").get("model_type")), ())
    if (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file():
        yield from _SENTENCEPIECE
    if any(folder.glob("*.tiktoken")):
        yield "tiktoken"
    if request.runs_code:
        # vLLM has the model itself, and takes the configuration, the tokenizer and the processor from the checkpoint.
        is_left_out = request.part.by == "vllm"
        for path in folder.glob("*.py"):
            if not (is_left_out and path.name.startswith("modeling")):
                yield from _imports_of(path)


def _imports_of(path: Path) -> Iterator[str]:
    """Modules that a file imports whatever happens: not within `try` or `if`, and none of its neighbours."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0 and statement.module:
            yield statement.module.partition(".")[0]


def _is_here(module: str) -> bool:
    try:
        return module in sys.modules or find_spec(module) is not None
    except (ImportError, ValueError):  # a parent package that is not there
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

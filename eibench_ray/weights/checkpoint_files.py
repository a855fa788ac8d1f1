"""Chooses the files of a checkpoint that an engine loads, and checks that a folder has them all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

# Of a repository that has its weights in several formats, an engine loads one.
_WEIGHTS = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".ggml", ".h5", ".msgpack", ".onnx", ".onnx_data", ".ckpt"}
    | {".ot", ".tflite", ".npz", ".pkl", ".nemo", ".zip"}
)
_FOR_READERS = frozenset({".md", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".mp4", ".pdf", ".gitattributes"})
# What is read from a folder within a repository: templates, code, configurations. Exports lie in folders, too.
_NESTED = frozenset({".json", ".jinja", ".py", ".txt", ".model"})
_EXPORTS = frozenset({"original", "onnx", "openvino", "coreml", "gguf", "mlx"})
# Source: vLLM 0.32, filter_files_not_needed_for_inference.
_OF_TRAINING = frozenset({"training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt"})
ADAPTER_CONFIG = "adapter_config.json"
# Source: vLLM 0.32, LoRAModel.from_local_checkpoint, in this order.
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt")
_INDEXES = {".safetensors": "model.safetensors.index.json", ".bin": "pytorch_model.bin.index.json"}


@dataclass(frozen=True, slots=True)
class CheckpointPart:
    """Part of a checkpoint that is loaded."""

    # Who loads it; `tokenizer`: anybody, and no weights; `adapter`: small weights that are added to those of another.
    by: Literal["vllm", "transformers", "tokenizer", "adapter"]
    load_format: str = "auto"  # vLLM's argument of that name

    @property
    def has_weights(self) -> bool:
        """Whether weights are part of it."""
        return self.by != "tokenizer" and self.load_format != "dummy"


def choose_files(names: Iterable[str], part: CheckpointPart) -> list[str]:
    """The files that are loaded, of all that a checkpoint has: weights of one format, and what is small beside them."""
    names = list(names)
    if part.by == "adapter":
        return sorted({ADAPTER_CONFIG}.intersection(names).union(_weights(names, part)))
    return sorted({*_weights(names, part), *filter(_is_small, names)})


def is_whole(folder: Path, listed: Sequence[str] | None, part: CheckpointPart) -> bool:
    """Whether a snapshot's folder has what is loaded; a file in it is whole, since it is linked when its content is.

    Args:
        folder: of the snapshot.
        listed: all files that the hub has of it; None: not known. Then its weights' index tells.
        part: what is wanted of it.
    """
    if listed is not None:
        return all((folder / name).exists() for name in choose_files(listed, part))
    present = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if not part.has_weights:
        return any(name.startswith("tokenizer") or name == "config.json" for name in present)
    weights = _weights(present, part)
    if part.by == "adapter":
        return bool(weights) and ADAPTER_CONFIG in present
    if not weights or not {"config.json", "params.json"} & set(present):
        return False
    index = _INDEXES.get(PurePosixPath(weights[0]).suffix)
    if index is None or index not in present:
        return True
    try:
        return set(json.loads((folder / index).read_bytes())["weight_map"].values()) <= set(present)
    except (ValueError, KeyError, OSError):
        return False


def _weights(names: Sequence[str], part: CheckpointPart) -> list[str]:
    """The weights as their loader chooses them. Source: vLLM 0.32, DefaultModelLoader._prepare_weights."""
    if not part.has_weights:
        return []
    if part.by == "adapter":
        return [name for name in ADAPTER_WEIGHTS if name in names][:1]
    top = [name for name in names if "/" not in name and name not in _OF_TRAINING]
    safe = [name for name in top if name.endswith(".safetensors")]
    # Mistral's own format beside the hub's: vLLM prefers it, nothing else reads it.
    own = [name for name in safe if name.startswith("consolidated")]
    common = [name for name in safe if name not in own]
    bins = [name for name in top if name.endswith(".bin")]
    archives = [name for name in top if name.endswith(".pt")]
    if part.by != "vllm":
        return common or bins
    match part.load_format:
        case "auto":
            return own or common or bins or archives
        case "hf":
            return common or bins or archives
        case "mistral":
            return own
        case "npcache":
            return bins
        case "pt":
            return archives
        case _:
            return common or own


def _is_small(name: str) -> bool:
    path = PurePosixPath(name)
    kind = path.suffix.lower() or path.name
    if len(path.parts) > 1:
        return kind in _NESTED and path.parts[0] not in _EXPORTS
    return kind not in _WEIGHTS and kind not in _FOR_READERS

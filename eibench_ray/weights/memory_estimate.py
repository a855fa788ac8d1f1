"""Estimates a checkpoint's GPU memory from its metadata alone: no tensor is read, nothing is downloaded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eibench_ray.errors import ConfigError
from eibench_ray.weights.hub_cache import hub_folder
from eibench_ray.weights.tensor_headers import TensorHeader, is_in_tower, layer_of, read_headers
from eibench_ray.weights.weights_source import resolve_source

GB = 10**9

_INDEX = "model.safetensors.index.json"
# Source: vLLM 0.32, model_arch_config_convertor.py.
_NUM_EXPERTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
_TEXT_SECTIONS = ("thinker_config", "text_config", "llm_config", "language_config")
# A config.json leaves out what equals its class's defaults (LLaVA 1.5 names no layers). Source: transformers 5.19.
CLASS_DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "llama": {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32},
    "mistral": {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8},
    "qwen2": {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 32},
    "gemma3_text": {
        "num_hidden_layers": 26,
        "hidden_size": 2304,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
    },
}


@dataclass(frozen=True, slots=True)
class Attention:
    """The shape of a language model's KV cache."""

    num_heads: int
    num_kv_heads: int  # heads that tensor parallelism divides; 1 where it cannot (multi-head latent attention)
    values_per_token: int  # numbers that one token adds to the cache, over all layers and heads


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """GPU memory that an engine takes, all GPUs together; None where a part is not known.

    Attributes:
        num_experts: of a mixture of experts; 0 for a dense model, and where nothing is known.
        experts_gb: part of `weights_gb` that experts are.
        adapter_gb_per_rank: GB that one adapter takes for each rank, in all layers of the language model.
    """

    weights_gb: float
    source: Literal["checkpoint", "expect"]  # `checkpoint`: its metadata; `expect`: the configuration's prior
    kv_gb_per_token: float | None = None  # GB of KV cache that one token takes
    num_heads: int | None = None
    num_kv_heads: int | None = None
    num_experts: int = 0
    experts_gb: float = 0.0
    adapter_gb_per_rank: float = 0.0


@dataclass(frozen=True, slots=True)
class _Weights:
    """Bytes of a checkpoint's weights as they are loaded."""

    total: int
    experts: int = 0
    adapter_values_per_rank: int = 0  # inputs and outputs of all layers that an adapter may change


def estimate_memory(
    source: str,
    revision: str | None,
    dtype: str,
    quantization: str | None,
    kv_cache_dtype: str = "auto",
    environ: Mapping[str, str] = os.environ,
    *,
    keeps_float32: bool = False,
) -> MemoryEstimate | None:
    """GPU memory of a loaded checkpoint; None where its metadata is not on this machine.

    The arguments are an engine's, as vLLM takes them. Weights count in the dtype that they are loaded in, `auto` as two
    bytes per value, since vLLM then loads float32 in half precision, unless the engine `keeps_float32`; those of a
    quantised checkpoint count as they are stored. Sliding windows count as full attention, which is at least what is
    needed.

    Raises:
        ConfigError: a file of the checkpoint cannot be read.
    """
    folder = checkpoint_on_disk(source, revision, environ)
    if folder is None or not (folder / "config.json").is_file():
        return None
    try:
        config = json.loads((folder / "config.json").read_bytes())
        if keeps_float32 and dtype == "auto":
            dtype = _stored_dtype(config)
        value_bytes = None if quantization or _is_quantized(config) else _dtype_bytes(dtype)
        weights = _weights_bytes(folder, config, value_bytes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the metadata of the checkpoint {folder} cannot be read ({error!r}): copy or download it again"
        ) from error
    if weights is None:
        return None
    attention = attention_shape(config)
    kv_bytes = _dtype_bytes(dtype if kv_cache_dtype == "auto" else kv_cache_dtype)
    return MemoryEstimate(
        weights_gb=weights.total / GB,
        source="checkpoint",
        kv_gb_per_token=attention.values_per_token * kv_bytes / GB if attention else None,
        num_heads=attention.num_heads if attention else None,
        num_kv_heads=attention.num_kv_heads if attention else None,
        num_experts=_num_experts(config),
        experts_gb=weights.experts / GB,
        adapter_gb_per_rank=weights.adapter_values_per_rank * _dtype_bytes(dtype) / GB,
    )


def attention_shape(config: Mapping[str, Any]) -> Attention | None:
    """The shape of the KV cache that a config.json asks for; None where it does not say.

    A vision-language model's is its language model's: its pictures are read without a cache.
    """
    section = _text_section(config)
    defaults = CLASS_DEFAULTS.get(section.get("model_type", ""), {})
    text: dict[str, Any] = {**defaults, **{key: value for key, value in section.items() if value is not None}}
    layers, heads = text.get("num_hidden_layers"), text.get("num_attention_heads")
    if not layers or not heads:
        return None
    if rank := text.get("kv_lora_rank"):
        return Attention(heads, 1, layers * (rank + text.get("qk_rope_head_dim", 0)))
    head_dim = text.get("head_dim") or text.get("hidden_size", 0) // heads
    kv_heads = text.get("num_key_value_heads") or heads
    return Attention(heads, kv_heads, layers * kv_heads * head_dim * 2) if head_dim else None


def checkpoint_on_disk(source: str, revision: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder of a source, there or not: its own, or that of its revision in the local Hugging Face cache."""
    resolved = resolve_source(source, environ)
    if Path(resolved).is_absolute():
        return Path(resolved)
    cached = hub_folder(resolved, environ)
    reference = cached / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    return cached / "snapshots" / commit if commit else None


def _weights_bytes(folder: Path, config: Mapping[str, Any], value_bytes: int | None) -> _Weights | None:
    """Bytes of all tensors with their floats in `value_bytes` each, or as stored where that is None."""
    index: Mapping[str, Any] = {}
    names = ["model.safetensors"]
    if (folder / _INDEX).is_file():
        index = json.loads((folder / _INDEX).read_bytes())
        names = sorted(set(index["weight_map"].values()))
    elif not (folder / names[0]).is_file():
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if names and all((folder / name).is_file() for name in names):
        return _add_up(read_headers(folder / name for name in names), value_bytes)
    total = index.get("metadata", {}).get("total_size")
    if total is None:
        return None
    return _Weights(int(total) * value_bytes // _dtype_bytes(_stored_dtype(config)) if value_bytes else int(total))


def _add_up(tensors: Iterable[TensorHeader], value_bytes: int | None) -> _Weights:
    total = experts = values = 0
    for tensor in tensors:
        num_bytes = tensor.loaded_bytes(value_bytes)
        total += num_bytes
        experts += num_bytes if ".experts." in tensor.name else 0
        if len(tensor.shape) == 2 and layer_of(tensor.name) and not is_in_tower(tensor.name):
            values += sum(tensor.shape)
    return _Weights(total, experts, values)


def _num_experts(config: Mapping[str, Any]) -> int:
    """Experts of a mixture; 0 for a dense model."""
    text = _text_section(config)
    found = next((text[name] for name in _NUM_EXPERTS if text.get(name)), 0)
    return max(found) if isinstance(found, list) else int(found)


def _text_section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a config.json; older ones keep it at the top."""
    for name in _TEXT_SECTIONS:
        if isinstance(section := config.get(name), dict):
            return _text_section(section)
    return config


def _is_quantized(config: Mapping[str, Any]) -> bool:
    sections = (config, _text_section(config))
    return any(part.get(key) for part in sections for key in ("quantization_config", "compression_config"))


def _stored_dtype(config: Mapping[str, Any]) -> str:
    """The dtype of the checkpoint's files; float32 is what transformers takes where nothing is said."""
    sections = (config, _text_section(config))
    named = (part.get(key) for part in sections for key in ("dtype", "torch_dtype"))
    return str(next(filter(None, named), "float32"))


def _dtype_bytes(dtype: str) -> int:
    """Bytes per value of a dtype that vLLM knows by this name."""
    if dtype.startswith(("fp8", "int8")):
        return 1
    return 4 if dtype in ("float32", "float") else 2

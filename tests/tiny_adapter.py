"""LoRA adapters written by hand, as PEFT saves them: two random factors per layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

LAYER = "model.layers.0.self_attn.q_proj"


def write_adapter(
    folder: Path, layers: Mapping[str, tuple[int, int]], *, seed: int = 0, rank: int = 4, **config: Any
) -> dict[str, Any]:
    """Writes an adapter, and returns what it adds to each layer's weights.

    Args:
        folder: is made.
        layers: by module, its outputs and inputs.
        seed: other seeds make other adapters.
        rank: of its factors.
        config: further entries of its configuration.
    """
    random = np.random.default_rng(seed)
    alpha, tensors, added = 2 * rank, {}, {}
    for module, (num_outputs, num_inputs) in layers.items():
        first = random.normal(0, num_inputs**-0.5, (rank, num_inputs)).astype(np.float32)
        second = random.normal(0, 0.5, (num_outputs, rank)).astype(np.float32)
        tensors |= {f"base_model.model.{module}.lora_A.weight": first}
        tensors |= {f"base_model.model.{module}.lora_B.weight": second}
        added[f"{module}.weight"] = alpha / rank * second @ first
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    names = sorted({module.rpartition(".")[2] for module in layers})
    said = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": names}
    (folder / "adapter_config.json").write_text(json.dumps(said | config))
    return added


def write_base(folder: Path, layers: Mapping[str, tuple[int, int]]) -> None:
    """Writes a folder with the weights of some layers and an empty configuration."""
    folder.mkdir(parents=True)
    save_file(
        {f"{module}.weight": np.zeros(shape, np.float32) for module, shape in layers.items()}, folder / "a.safetensors"
    )
    (folder / "config.json").write_text("{}")

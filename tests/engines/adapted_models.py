"""Adapters of tiny_llama, and its checkpoint with each of them merged into its weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tiny_adapter import write_adapter

from eibench_ray.weights.build import build_checkpoint

ADAPTERS = {"fine": 4, "coarse": 9}  # and their ranks
CHANGED = ("q_proj", "v_proj", "o_proj", "gate_proj", "down_proj")


def write_adapters(folder: Path) -> dict[str, dict[str, Any]]:
    """The `lora` section of each adapter by its name; beside them lie NAME_merged, whole checkpoints.

    The last one, `broken`, cannot be loaded.
    """
    from safetensors.torch import load_file, save_file

    base = build_checkpoint("tiny_llama")
    weights = {name: tensor.float() for name, tensor in load_file(base / "model.safetensors").items()}
    layers = {
        name.removesuffix(".weight"): (tensor.shape[0], tensor.shape[1])
        for name, tensor in weights.items()
        if name.removesuffix(".weight").endswith(CHANGED)
    }
    found: dict[str, dict[str, Any]] = {}
    for seed, (name, rank) in enumerate(ADAPTERS.items()):
        added = write_adapter(folder / name, layers, seed=seed, rank=rank)
        merged = folder / f"{name}_merged"
        shutil.copytree(base, merged)
        whole = {
            key: tensor + tensor.new_tensor(added[key]) if key in added else tensor for key, tensor in weights.items()
        }
        save_file(whole, merged / "model.safetensors", metadata={"format": "pt"})
        found[name] = {"source": str(folder / name), "rank": rank}
    # Its layers are unknown before vLLM unpickles them, and it cannot.
    shutil.copytree(folder / "fine", folder / "broken")
    (folder / "broken" / "adapter_model.safetensors").unlink()
    (folder / "broken" / "adapter_model.bin").write_bytes(b"no pickle")
    return found | {"broken": {"source": str(folder / "broken"), "rank": 4}}

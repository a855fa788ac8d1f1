"""LoRA adapters as vLLM takes them: the room that they need, and whether one fits its base. vLLM is not imported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from eibench_ray.engines.loaded_section import is_hub_id
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.plan.engine_traits import Adapter
from eibench_ray.weights.checkpoint_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from eibench_ray.weights.tensor_headers import FLOAT_BYTES, is_in_tower, layer_of, read_headers

# The only ones that vLLM 0.32 takes (config/lora.py).
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# Each takes GPU memory for its rank in every layer; further ones wait for their turn in the memory of the host.
MOST_AT_ONCE = 8
_PREFIX = "base_model.model."
_FACTORS = (".lora_A", ".lora_B")
# Settings of PEFT by which an adapter is more than two factors per layer. Source: vLLM 0.32, lora/peft_helper.py.
_UNKNOWN_TO_VLLM = ("use_dora", "lora_bias", "modules_to_save", "alora_invocation_tokens", "layer_replication")


def lora_arguments(ranks: Sequence[int], device: Literal["cpu", "cuda"]) -> dict[str, Any]:
    """Arguments of `AsyncEngineArgs` by which there is room for so many adapters; none where there are none."""
    if not ranks:
        return {}
    num = min(len(ranks), MOST_AT_ONCE)
    if device == "cpu":
        # vLLM 0.32 gives a request without an adapter the last slot's when it makes tokens on a CPU (index -1 in
        # lora/ops/torch_ops): slots are filled from the first on, so one that stays empty leaves its answer alone.
        num = len(ranks) + 1
    return {"enable_lora": True, "max_loras": num, "max_cpu_loras": max(num, len(ranks)), "max_lora_rank": room(ranks)}


def room(ranks: Sequence[int]) -> int:
    """The rank that vLLM keeps room for."""
    return next(rank for rank in _RANKS if rank >= max(ranks))


def find_misfit(section: VllmSection, adapter: Adapter, folder: Path, base: Path | None) -> str:
    """The reason why vLLM cannot add an adapter to its base, as far as their files tell; empty where it can.

    Args:
        section: of the engine.
        adapter: as it is planned.
        folder: of the adapter's files.
        base: of the base's files, there or not; None: not on this machine.
    """
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_bytes())
        ranks = [int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its {ADAPTER_CONFIG} cannot be read ({error!r}): copy or download it again"
    kind, named = config.get("peft_type", "LORA"), config.get("base_model_name_or_path")
    if kind != "LORA":
        return f"it is of PEFT's type {kind}, and vLLM takes LORA alone: merge it into its base"
    if unknown := [name for name in _UNKNOWN_TO_VLLM if config.get(name)]:
        return (
            f"vLLM does not know its {', '.join(unknown)}: merge it into its base, and set engine.source to the result"
        )
    if max(ranks) > adapter.rank:
        return f"its rank is {max(ranks)}, and engine.lora.rank is {adapter.rank}: set it to {max(ranks)}"
    if _is_other_base(str(named or ""), section.source, adapter.base):
        return (
            f"it was made for {named} ({ADAPTER_CONFIG}), and engine.source is {section.source}: choose an option of "
            f"its base; where both are the same weights, set engine.lora.base to {named}"
        )
    try:
        return next(_find_strange_layers(section, folder, base), "")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its weights cannot be compared with those of its base ({error!r}): copy or download both again"


def _is_other_base(named: str, source: str, declared: str | None) -> bool:
    """Whether an adapter names another base on the hub; a folder of whoever trained it says nothing."""
    if not named or named in (source, declared):
        return False
    return is_hub_id(named) and is_hub_id(source)


def _find_strange_layers(section: VllmSection, folder: Path, base: Path | None) -> Iterator[str]:
    """Reasons against each layer that the base lacks, has in another shape, or that vLLM leaves as it is."""
    weights = folder / ADAPTER_WEIGHTS[0]
    if not weights.is_file():  # pickled: its layers are not known without reading it
        return
    changes = _changes(weights)
    if not section.args.get("enable_tower_connector_lora"):
        for module in filter(is_in_tower, changes):
            yield (
                f"it changes {module}, and vLLM leaves what reads pictures as it is: where the model allows it, set "
                f"engine.args.enable_tower_connector_lora to true; else merge the adapter into its base"
            )
    shards = sorted(base.glob("*.safetensors")) if base is not None else []
    layers: dict[str, set[tuple[int, ...] | None]] = {}
    for tensor in read_headers(shards):
        name, _, last = tensor.name.rpartition(".")
        is_plain = last == "weight" and tensor.dtype in FLOAT_BYTES
        layers.setdefault(layer_of(name) or name, set()).add(tensor.shape if is_plain else None)
    for module, (num_inputs, num_outputs) in changes.items() if layers else ():
        layer = layer_of(module)
        if layer is None or ".experts" in layer:  # outside of layers names differ, and experts may be stored as one
            continue
        if layer not in layers:
            yield f"it changes {module}, which {section.source} does not have: choose an option of its base"
        elif None not in layers[layer] and (num_outputs, num_inputs) not in layers[layer]:
            shapes = " or ".join(f"{shape[0]} x {shape[1]}" for shape in layers[layer] if shape)
            yield (
                f"it changes {module} of {num_outputs} x {num_inputs} values, which are {shapes} in {section.source}: "
                f"choose an option of its base"
            )


def _changes(weights: Path) -> Mapping[str, tuple[int, int]]:
    """By module, the inputs and outputs of what is added to it."""
    inputs: dict[str, int] = {}
    outputs: dict[str, int] = {}
    for tensor in read_headers([weights]):
        for factor in _FACTORS:
            module, found, _ = tensor.name.removeprefix(_PREFIX).partition(factor)
            if found and len(tensor.shape) == 2:
                side = inputs if factor == ".lora_A" else outputs
                side[module] = tensor.shape[1] if factor == ".lora_A" else tensor.shape[0]
    return {module: (inputs[module], outputs[module]) for module in inputs if module in outputs}

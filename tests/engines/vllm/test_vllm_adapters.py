"""The room that adapters need in vLLM, and which of them fit a base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_adapter import LAYER, write_adapter, write_base

from eibench_ray.engines.vllm.vllm_adapters import find_misfit, lora_arguments
from eibench_ray.engines.vllm.vllm_kind import KIND
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.errors import PlanError
from eibench_ray.plan.engine_traits import Adapter

SHAPE = (6, 8)


def section(**options: Any) -> VllmSection:
    return VllmSection.model_validate({"kind": "vllm", "source": "me/base", "max_model_len": 64} | options)


def misfit(tmp_path: Path, layers: dict[str, tuple[int, int]], *, declared: str | None = None, **config: Any) -> str:
    write_adapter(tmp_path / "added", layers, **config)
    write_base(tmp_path / "base", {LAYER: SHAPE, "vision_tower.layers.0.self_attn.k_proj": (4, 4)})
    adapter = Adapter("k", "fine", str(tmp_path / "added"), None, 8, declared)
    return find_misfit(section(), adapter, tmp_path / "added", tmp_path / "base")


@pytest.mark.parametrize(
    ("ranks", "device", "expected"),
    [
        ([8], "cuda", (1, 1, 8)),
        ([4, 17, 16], "cuda", (3, 3, 32)),
        ([8] * 20, "cuda", (8, 20, 8)),
        # On a CPU, one slot stays empty.
        ([8, 8], "cpu", (3, 3, 8)),
    ],
)
def test_room_is_kept_for_the_adapters_of_the_plan(
    ranks: list[int], device: Any, expected: tuple[int, int, int]
) -> None:
    found = lora_arguments(ranks, device)
    assert (found["max_loras"], found["max_cpu_loras"], found["max_lora_rank"]) == expected
    assert found["enable_lora"] is True


def test_an_engine_without_adapters_keeps_no_room() -> None:
    assert lora_arguments([], "cuda") == {}


@pytest.mark.parametrize("base", [None, "/where/it/was/trained", "me/base"])
def test_an_adapter_of_the_base_fits(tmp_path: Path, base: str | None) -> None:
    assert misfit(tmp_path, {LAYER: SHAPE}, base_model_name_or_path=base) == ""


def test_models_may_nest_the_layers_of_their_base_otherwise(tmp_path: Path) -> None:
    assert misfit(tmp_path, {f"language_model.{LAYER}": SHAPE}) == ""


@pytest.mark.parametrize(
    ("layers", "config", "reason"),
    [
        ({LAYER: SHAPE}, {"base_model_name_or_path": "you/other"}, "it was made for you/other"),
        ({LAYER: SHAPE}, {"rank": 9}, "its rank is 9, and engine.lora.rank is 8: set it to 9"),
        ({LAYER: SHAPE}, {"rank_pattern": {"q_proj": 12}}, "its rank is 12"),
        ({LAYER: SHAPE}, {"peft_type": "IA3"}, "it is of PEFT's type IA3"),
        ({LAYER: SHAPE}, {"use_dora": True}, "does not know its use_dora"),
        ({LAYER: (6, 9)}, {}, "of 6 x 9 values, which are 6 x 8 in me/base"),
        ({"model.layers.0.mlp.c_fc": SHAPE}, {}, "changes model.layers.0.mlp.c_fc, which me/base does not have"),
        ({"vision_tower.layers.0.self_attn.k_proj": (4, 4)}, {}, "leaves what reads pictures as it is"),
    ],
)
def test_an_adapter_that_does_not_fit_says_why(
    tmp_path: Path, layers: dict[str, tuple[int, int]], config: dict[str, Any], reason: str
) -> None:
    assert reason in misfit(tmp_path, layers, **config)


def test_a_base_may_be_declared_to_be_the_same_under_another_name(tmp_path: Path) -> None:
    assert misfit(tmp_path, {LAYER: SHAPE}, declared="you/other", base_model_name_or_path="you/other") == ""


def test_a_misfit_is_refused_when_the_sweep_is_planned(tmp_path: Path) -> None:
    write_adapter(tmp_path / "added", {LAYER: SHAPE}, base_model_name_or_path="you/other")
    with pytest.raises(PlanError, match=r"cannot be added to me/base: it was made for you/other .*engine\.lora\.base"):
        KIND.adapter(section(lora={"source": str(tmp_path / "added"), "rank": 8}))


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"is no adapter: it has no adapter_config\.json"):
        KIND.adapter(section(lora={"source": str(tmp_path), "rank": 8}))


def test_an_adapter_is_known_by_its_content(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("same", 0), ("other", 1)):
        write_adapter(tmp_path / name, {LAYER: SHAPE}, seed=seed)
    found = [KIND.adapter(section(lora={"source": str(tmp_path / name), "rank": 8})) for name in ("a", "same", "other")]
    keys = [one.key for one in found if one is not None]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("args", "key"),
    [
        ({"enable_lora": True}, "lora"),
        ({"max_lora_rank": 16}, "lora"),
        ({"data_parallel_size": 2}, "data_parallel"),
        ({"enable_expert_parallel": True}, "expert_parallel"),
    ],
)
def test_further_arguments_leave_alone_what_has_a_key(args: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=rf"is no further argument: set engine\.{key}"):
        section(args=args)


def test_the_server_answers_with_the_adapter_under_the_models_name(tmp_path: Path) -> None:
    from eibench_ray.engines.engine_kind import ServerAddress
    from eibench_ray.weights.adapter_weights import LoadedAdapter
    from eibench_ray.weights.node_weights import Weights

    write_adapter(tmp_path / "added", {LAYER: SHAPE})
    own = section(lora={"source": str(tmp_path / "added"), "rank": 4}, chat_template="package:plain")
    adapter = KIND.adapter(own)
    assert adapter is not None
    loaded = LoadedAdapter(adapter, KIND.adapter_weights(adapter))
    address = ServerAddress("127.0.0.1", 1, "fine", has_key=False)
    words = KIND.server(own, "cuda", Weights(KIND.weights(own)), address, [loaded]).arguments
    assert {"--enable-lora", "--max-lora-rank=8"} <= set(words)
    assert "--served-model-name=fine without adapter" in words
    module = json.loads(words[words.index("--lora-modules") + 1])
    assert module == {"name": "fine", "path": str(tmp_path / "added")}

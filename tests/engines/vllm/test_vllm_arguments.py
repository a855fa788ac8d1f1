"""The arguments of a vLLM engine: what the configuration says, in vLLM's words, and what a CPU needs besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eibench_ray.engines.vllm.vllm_arguments import COMPILING_WORKER, engine_arguments
from eibench_ray.engines.vllm.vllm_kind import vllm_weights
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.weights.node_weights import CACHE_VARIABLE, Weights


def engine(**keys: Any) -> VllmSection:
    return VllmSection.model_validate({"kind": "vllm", "source": "me/mine", "max_model_len": 512} | keys)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"source": "me/mine"}, {"model": "me/mine", "revision": None}),
        ({"source": "me/mine", "revision": "v2"}, {"model": "me/mine", "revision": "v2"}),
        ({"kv_cache_gib": 0.0625}, {"kv_cache_memory_bytes": 64 << 20}),
        ({"kv_cache_gib": None}, {"kv_cache_memory_bytes": None}),
        ({"tensor_parallel": 2, "pipeline_parallel": 3}, {"tensor_parallel_size": 2, "pipeline_parallel_size": 3}),
        ({"args": {"seed": 7, "kv_cache_dtype": "fp8"}}, {"seed": 7, "kv_cache_dtype": "fp8"}),
    ],
)
def test_a_key_is_said_in_vllms_words(keys: dict[str, Any], expected: dict[str, Any]) -> None:
    arguments = engine_arguments(engine(**keys), "cuda")
    assert expected.items() <= arguments.items()


def test_a_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert engine_arguments(engine(source="./mine"), "cpu")["model"] == str(tmp_path / "mine")


def test_what_was_brought_to_the_node_is_loaded_from_there(tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine"
    checkpoint.mkdir()
    for name in ("config.json", "model.safetensors"):
        (checkpoint / name).write_bytes(b"\2\0\0\0\0\0\0\0{}")
    weights = Weights(vllm_weights(engine(source=str(checkpoint))), {CACHE_VARIABLE: str(tmp_path / "nvme")})
    weights.bring()
    arguments = engine_arguments(engine(source=str(checkpoint)), "cpu", weights)
    assert Path(arguments["model"]).parent == tmp_path / "nvme"
    assert arguments["revision"] is None


def test_a_cpu_computes_prompts_whole_and_shares_nothing() -> None:
    arguments = engine_arguments(engine(tensor_parallel=4, max_model_len=32_768), "cpu")
    assert arguments["tensor_parallel_size"] == 1
    assert arguments["enable_chunked_prefill"] is False
    assert arguments["max_num_batched_tokens"] == 32_768
    assert arguments["block_size"] == 32
    assert engine_arguments(engine(args={"block_size": 64}), "cpu")["block_size"] == 64
    assert not {"enable_chunked_prefill", "block_size"} & engine_arguments(engine(), "cuda").keys()


def test_room_for_pictures_follows_the_plan_unless_it_is_configured() -> None:
    assert "limit_mm_per_prompt" not in engine_arguments(engine(), "cuda")  # a server's requests are not known
    assert engine_arguments(engine(), "cuda", most_images=3)["limit_mm_per_prompt"] == {"image": 3, "video": 0}
    own = engine(args={"limit_mm_per_prompt": {"image": 8}})
    assert engine_arguments(own, "cuda", most_images=3)["limit_mm_per_prompt"] == {"image": 8}


@pytest.mark.parametrize(("configured", "expected"), [(8, 8), ("auto", 256)])
def test_a_batch_that_no_gpu_has_chosen_is_the_default(configured: int | str, expected: int) -> None:
    assert engine_arguments(engine(max_num_seqs=configured), "cpu")["max_num_seqs"] == expected


def test_only_what_is_compiled_waits_for_its_turn() -> None:
    assert engine_arguments(engine(), "cuda")["worker_cls"] == COMPILING_WORKER
    assert "worker_cls" not in engine_arguments(engine(enforce_eager=True), "cuda")

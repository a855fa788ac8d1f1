"""GPU memory of a checkpoint: from headers and indices alone, as vLLM counts it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_adapter import write_base

from eibench_ray.errors import ConfigError
from eibench_ray.weights.build import build_checkpoint
from eibench_ray.weights.memory_estimate import (
    CLASS_DEFAULTS,
    Attention,
    MemoryEstimate,
    attention_shape,
    estimate_memory,
)
from eibench_ray.weights.recipes import NAMES

LLAMA_3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
}
HUB_ID = "me/eye"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# Configurations as they lie on the hub, cut down to what counts; bytes per token at two bytes per value.
SHAPES: Mapping[str, tuple[Mapping[str, Any], int, int, int]] = {
    "Llama 3 8B": (LLAMA_3_8B, 32, 8, 131_072),
    "Qwen3 8B: head_dim is not hidden_size / heads": (
        {"num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8, "head_dim": 128},
        32,
        8,
        147_456,
    ),
    "LLaVA-NeXT 34B: the language model's shape is nested": (
        {
            "model_type": "llava_next",
            "text_config": {
                "model_type": "llama",
                "hidden_size": 7168,
                "num_attention_heads": 56,
                "num_hidden_layers": 60,
                "num_key_value_heads": 8,
            },
            "vision_config": {"num_hidden_layers": 24, "num_attention_heads": 16, "hidden_size": 1024},
        },
        56,
        8,
        245_760,
    ),
    "LLaVA-NeXT 7B: what equals the defaults is left out": (
        {"model_type": "llava_next", "text_config": {"model_type": "llama", "vocab_size": 32064}},
        32,
        32,
        524_288,
    ),
    "LLaVA 1.5 13B: heads of keys and values are those of queries": (
        {
            "model_type": "llava",
            "text_config": {
                "model_type": "llama",
                "hidden_size": 5120,
                "num_attention_heads": 40,
                "num_hidden_layers": 40,
                "num_key_value_heads": 40,
            },
        },
        40,
        40,
        819_200,
    ),
    "InternVL3 8B": (
        {
            "model_type": "internvl_chat",
            "llm_config": {
                "model_type": "qwen2",
                "hidden_size": 3584,
                "num_attention_heads": 28,
                "num_hidden_layers": 28,
                "num_key_value_heads": 4,
            },
        },
        28,
        4,
        57_344,
    ),
    "Gemma 3 12B: every layer counts as full attention, head_dim is the class's": (
        {
            "model_type": "gemma3",
            "text_config": {
                "model_type": "gemma3_text",
                "hidden_size": 3840,
                "num_attention_heads": 16,
                "num_hidden_layers": 48,
                "num_key_value_heads": 8,
                "sliding_window": 1024,
            },
        },
        16,
        8,
        393_216,
    ),
    "DeepSeek-V2 Lite: one latent vector per layer, which every GPU keeps": (
        {
            "model_type": "deepseek_v2",
            "hidden_size": 2048,
            "num_attention_heads": 16,
            "num_hidden_layers": 27,
            "num_key_value_heads": 16,
            "kv_lora_rank": 512,
            "qk_rope_head_dim": 64,
        },
        16,
        1,
        31_104,
    ),
}


def write_tensors(path: Path, tensors: Mapping[str, tuple[str, int]]) -> None:
    """A safetensors file of flat tensors, by (dtype, bytes); the bytes themselves are a hole in the file."""
    header, begin = {}, 0
    for name, (dtype, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [], "data_offsets": [begin, begin + size]}
        begin += size
    text = json.dumps({"__metadata__": {"format": "pt"}} | header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + begin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of 8 GB in bfloat16, with 2 GB of integers beside it; on disk it is a hole."""
    folder = tmp_path / "eye"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_3_8B | {"torch_dtype": "bfloat16"}))
    write_tensors(
        folder / "model.safetensors", {"a": ("BF16", 5 * 10**9), "b": ("BF16", 3 * 10**9), "c": ("I32", 2 * 10**9)}
    )
    return folder


def estimate(source: Path | str, dtype: str = "auto", **options: Any) -> MemoryEstimate:
    known = estimate_memory(
        str(source), options.pop("revision", None), dtype, options.pop("quantization", None), **options
    )
    assert known is not None
    return known


@pytest.mark.parametrize(("config", "heads", "kv_heads", "bytes_per_token"), SHAPES.values(), ids=SHAPES)
def test_a_token_takes_what_the_language_model_says(
    config: Mapping[str, Any], heads: int, kv_heads: int, bytes_per_token: int
) -> None:
    assert attention_shape(config) == Attention(heads, kv_heads, bytes_per_token // 2)


@pytest.mark.parametrize(
    "config", [{}, {"model_type": "gpt2", "n_layer": 12}, {"num_hidden_layers": 2, "num_attention_heads": 2}]
)
def test_a_configuration_that_says_too_little_has_no_shape(config: Mapping[str, Any]) -> None:
    assert attention_shape(config) is None


@pytest.mark.parametrize(
    ("dtype", "quantization", "weights_gb"),
    [("auto", None, 10), ("bfloat16", None, 10), ("half", None, 10), ("float32", None, 18), ("float32", "awq", 10)],
)
def test_weights_count_in_the_dtype_that_they_are_loaded_in(
    folder: Path, dtype: str, quantization: str | None, weights_gb: float
) -> None:
    assert estimate(folder, dtype, quantization=quantization).weights_gb == weights_gb


def test_half_precision_is_what_auto_makes_of_float32(folder: Path) -> None:
    write_tensors(folder / "model.safetensors", {"a": ("F32", 8 * 10**9)})
    assert [estimate(folder, dtype).weights_gb for dtype in ("auto", "float32")] == [4, 8]


def test_an_engine_that_keeps_float32_needs_all_of_it(folder: Path) -> None:
    write_tensors(folder / "model.safetensors", {"a": ("F32", 8 * 10**9)})
    (folder / "config.json").write_text(json.dumps(LLAMA_3_8B | {"dtype": "float32"}))
    known = [estimate(folder, dtype, keeps_float32=True).weights_gb for dtype in ("auto", "bfloat16")]
    assert known == [8, 4]


@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
def test_a_quantised_checkpoint_counts_as_it_is_stored(folder: Path, key: str) -> None:
    (folder / "config.json").write_text(json.dumps(LLAMA_3_8B | {key: {"quant_method": "awq"}}))
    assert estimate(folder, "float32").weights_gb == 10


@pytest.mark.parametrize(
    ("dtype", "kv_cache_dtype", "bytes_per_token"),
    [
        ("auto", "auto", 131_072),
        ("float32", "auto", 262_144),
        ("float32", "bfloat16", 131_072),
        ("auto", "fp8_e4m3", 65_536),
    ],
)
def test_the_cache_has_the_engines_dtype_or_its_own(
    folder: Path, dtype: str, kv_cache_dtype: str, bytes_per_token: int
) -> None:
    known = estimate(folder, dtype, kv_cache_dtype=kv_cache_dtype)
    assert known.kv_gb_per_token == bytes_per_token / 1e9
    assert (known.num_heads, known.num_kv_heads, known.source) == (32, 8, "checkpoint")


def test_weights_are_known_where_the_cache_is_not(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "gpt2", "n_layer": 12}')
    assert estimate(folder) == MemoryEstimate(10, "checkpoint")


def write_index(folder: Path, **metadata: int) -> None:
    index = {"metadata": metadata, "weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_only_the_files_of_the_index_count(folder: Path) -> None:
    write_index(folder, total_size=1)
    for number in (1, 2):
        write_tensors(folder / f"part-{number}.safetensors", {"a": ("F16", number * 10**9)})
    assert estimate(folder).weights_gb == 3


def test_files_without_an_index_count_all(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "first.safetensors")
    write_tensors(folder / "second.safetensors", {"a": ("F16", 10**9)})
    assert estimate(folder).weights_gb == 11


@pytest.mark.parametrize(("dtype", "weights_gb"), [("auto", 6), ("float32", 12)])
def test_an_index_speaks_for_files_that_are_not_there(folder: Path, dtype: str, weights_gb: float) -> None:
    write_index(folder, total_size=6 * 10**9)
    assert estimate(folder, dtype).weights_gb == weights_gb


def test_what_is_not_there_is_not_known(folder: Path, tmp_path: Path) -> None:
    environ = {"EIBENCH_CHECKPOINTS": str(tmp_path / "cache"), "HF_HUB_CACHE": str(tmp_path / "hub")}
    for source in ("checkpoint:tiny_llama", HUB_ID, "/not/there"):
        assert estimate_memory(source, None, "auto", None, environ=environ) is None
    write_index(folder)
    assert estimate_memory(str(folder), None, "auto", None) is None
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert estimate_memory(str(folder), None, "auto", None) is None


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_hub_id_is_looked_up_in_the_local_cache(folder: Path, tmp_path: Path, revision: str | None) -> None:
    cached = tmp_path / "home" / "hub" / "models--me--eye"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    (cached / "snapshots").mkdir()
    folder.rename(cached / "snapshots" / COMMIT)
    environ = {"HF_HOME": str(tmp_path / "home")}
    assert estimate(HUB_ID, revision=revision, environ=environ).weights_gb == 10
    assert estimate_memory(HUB_ID, "v2", "auto", None, environ=environ) is None


@pytest.mark.parametrize(("name", "text"), [("config.json", "{"), ("model.safetensors", "version https://git-lfs")])
def test_a_file_that_cannot_be_read_is_named(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ConfigError, match=r"the metadata of the checkpoint .*eye cannot be read .*download it again"):
        estimate_memory(str(folder), None, "auto", None)


@pytest.mark.parametrize("model_type", CLASS_DEFAULTS)
def test_left_out_keys_have_the_value_that_transformers_gives_them(model_type: str) -> None:
    transformers = pytest.importorskip("transformers", reason="the defaults are compared with transformers")
    config = transformers.AutoConfig.for_model(model_type)
    assert {key: getattr(config, key) for key in CLASS_DEFAULTS[model_type]} == CLASS_DEFAULTS[model_type]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("tiny_")])
def test_real_weights_are_the_sum_of_their_tensors(name: str) -> None:
    pytest.importorskip("transformers", reason="building needs eibench-ray[cpu] or [gpu]")
    from safetensors import safe_open

    with safe_open(build_checkpoint(name) / "model.safetensors", framework="numpy") as file:
        slices = [file.get_slice(key) for key in file.keys()]  # noqa: SIM118 - it is no mapping
    assert {part.get_dtype() for part in slices} == {"BF16"}
    assert estimate(f"checkpoint:{name}").weights_gb == sum(2 * math.prod(part.get_shape()) for part in slices) / 1e9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_llama", "tiny_idefics3"])
def test_real_caches_have_the_shape_that_vllm_gives_them(name: str) -> None:
    pytest.importorskip("vllm", reason="vLLM reads the checkpoint's shape")
    from vllm.config import ModelConfig

    model = ModelConfig(model=str(build_checkpoint(name)))
    values = model.get_total_num_hidden_layers() * model.get_total_num_kv_heads() * model.get_head_size() * 2
    known = estimate(f"checkpoint:{name}")
    assert known.kv_gb_per_token == values * model.dtype.itemsize / 1e9
    assert known.num_kv_heads == model.get_total_num_kv_heads()


def test_experts_and_the_room_of_an_adapter_are_counted_apart(tmp_path: Path) -> None:
    layer = "model.layers.0"
    shapes = {f"{layer}.self_attn.q_proj": (6, 8), f"{layer}.mlp.experts.0.up_proj": (4, 8)}
    write_base(tmp_path / "mixture", shapes | {"vision_tower.layers.0.q_proj": (4, 4), "model.embed_tokens": (10, 8)})
    (tmp_path / "mixture" / "config.json").write_text('{"text_config": {"n_routed_experts": 1}}')
    found = estimate(tmp_path / "mixture")
    assert (found.num_experts, found.experts_gb * 1e9) == (1, pytest.approx(4 * 8 * 2))
    # Inputs and outputs of the language model's layers, in two bytes each.
    assert found.adapter_gb_per_rank * 1e9 == pytest.approx((6 + 8 + 4 + 8) * 2)

"""Which of a checkpoint's files are loaded: one format of its weights, and what is small beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from eibench_ray.weights.checkpoint_files import CheckpointPart, choose_files, is_whole

SMALL = ["config.json", "tokenizer.json", "chat_template.jinja", "modeling_eye.py", "qwen.tiktoken", "SimSun.ttf"]
NOT_LOADED = [
    ".gitattributes",
    "README.md",
    "eye.png",
    "original/consolidated.00.pth",
    "original/params.json",
    "onnx/model.onnx",
    "onnx/config.json",
    "flax_model.msgpack",
    "tf_model.h5",
    "optimizer.pt",
    "training_args.bin",
]
SAFE = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
BINS = ["pytorch_model.bin"]
MISTRAL = ["consolidated.safetensors", "params.json"]


def chosen(
    names: list[str], by: Literal["vllm", "transformers", "tokenizer"] = "vllm", load_format: str = "auto"
) -> set[str]:
    return set(choose_files([*SMALL, *NOT_LOADED, *names], CheckpointPart(by, load_format))) - set(SMALL)


def test_what_is_small_is_always_loaded() -> None:
    assert set(choose_files([*SMALL, *NOT_LOADED], CheckpointPart("tokenizer"))) == set(SMALL)
    assert choose_files(["additional_chat_templates/tool.jinja", "assets/a.png"], CheckpointPart("vllm")) == [
        "additional_chat_templates/tool.jinja"
    ]


def test_one_format_of_the_weights_is_loaded() -> None:
    assert chosen([*SAFE, *BINS]) == set(SAFE)
    assert chosen(BINS) == set(BINS)
    assert chosen([*SAFE, *BINS], "transformers") == set(SAFE)
    assert chosen([*SAFE, *BINS], "tokenizer") == {SAFE[2]}
    assert chosen(["eye.pt"]) == {"eye.pt"}
    assert chosen(["eye.pt"], "transformers") == set()


@pytest.mark.parametrize(
    ("load_format", "weights"),
    [
        ("auto", {"consolidated.safetensors"}),
        ("mistral", {"consolidated.safetensors"}),
        ("hf", set(SAFE[:2])),
        ("safetensors", set(SAFE[:2])),
        ("npcache", set(BINS)),
        ("pt", {"eye.pt"}),
        ("dummy", set()),
    ],
)
def test_vllm_loads_the_format_that_it_is_told(load_format: str, weights: set[str]) -> None:
    names = [*SAFE, *BINS, *MISTRAL, "eye.pt"]
    assert chosen(names, "vllm", load_format) == weights | {SAFE[2], "params.json"}


def test_transformers_leaves_mistrals_own_format() -> None:
    assert chosen([*SAFE, *MISTRAL], "transformers") == {*SAFE, "params.json"}


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("{}")


def test_a_folder_is_whole_with_all_that_is_listed(tmp_path: Path) -> None:
    listed = ["config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin", "README.md"]
    write(tmp_path, "config.json", "model.safetensors")
    assert not is_whole(tmp_path, listed, CheckpointPart("vllm"))
    write(tmp_path, "tokenizer.json")
    assert is_whole(tmp_path, listed, CheckpointPart("vllm"))
    assert not is_whole(tmp_path, listed, CheckpointPart("vllm", "npcache"))


def test_without_a_list_the_index_tells(tmp_path: Path) -> None:
    assert not is_whole(tmp_path / "gone", None, CheckpointPart("vllm"))
    write(tmp_path, "config.json")
    assert not is_whole(tmp_path, None, CheckpointPart("vllm"))
    assert is_whole(tmp_path, None, CheckpointPart("tokenizer"))
    assert is_whole(tmp_path, None, CheckpointPart("vllm", "dummy"))
    write(tmp_path, SAFE[0])
    assert is_whole(tmp_path, None, CheckpointPart("vllm"))
    (tmp_path / SAFE[2]).write_text(json.dumps({"weight_map": {"a": SAFE[0], "b": SAFE[1]}}))
    assert not is_whole(tmp_path, None, CheckpointPart("vllm"))
    write(tmp_path, SAFE[1])
    assert is_whole(tmp_path, None, CheckpointPart("vllm"))
    (tmp_path / SAFE[2]).write_text("{")
    assert not is_whole(tmp_path, None, CheckpointPart("vllm"))


def test_an_adapter_is_its_configuration_and_one_file_of_weights(tmp_path: Path) -> None:
    adapter = CheckpointPart("adapter")
    names = ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "tokenizer.json", "README.md"]
    assert choose_files(names, adapter) == ["adapter_config.json", "adapter_model.safetensors"]
    write(tmp_path, "adapter_model.bin")
    assert not is_whole(tmp_path, None, adapter)
    write(tmp_path, "adapter_config.json")
    assert is_whole(tmp_path, None, adapter)

"""Imports of a checkpoint are known from its files, before it loads."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.engines.transformers.transformers_kind import KIND
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.engines.vllm.vllm_kind import vllm_weights
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.errors import EngineError
from eibench_ray.weights import missing_imports
from eibench_ray.weights.missing_imports import missing_packages
from eibench_ray.weights.node_weights import Weights

# The `model_type` of each option's checkpoint that has a processor of its own.
TYPES = (
    "gemma3",
    "internvl",
    "llava",
    "llava_next",
    "llava_onevision",
    "qwen2_5_vl",
    "qwen3_vl",
    "idefics3",
    "smolvlm",
)
# What transformers guards imports with, and what every installation of ours has.
INSTALLED = {"torch", "vision", "torchvision"}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python with nothing but its own library."""
    monkeypatch.setattr(missing_imports, "_is_here", lambda module: module in ("json", "os", "torch", "transformers"))


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def vllm(source: Path, **keys: Any) -> VllmSection:
    return VllmSection(kind="vllm", source=str(source), max_model_len=64, **keys)


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({"config.json": '{"model_type": "smolvlm"}', "tokenizer.json": ""}, ["num2words"]),
        ({"config.json": '{"model_type": "llava_next"}', "tokenizer.json": ""}, ["torchvision"]),
        ({"config.json": '{"model_type": "llama"}', "tokenizer.json": ""}, []),
        ({"config.json": "{}", "tokenizer.model": ""}, ["protobuf", "sentencepiece"]),
        ({"config.json": "{}", "tokenizer.model": "", "tokenizer.json": ""}, []),
        ({"config.json": "{}", "qwen.tiktoken": ""}, ["tiktoken"]),
        ({"config.json": "no JSON"}, []),
        ({}, []),
    ],
)
@pytest.mark.usefixtures("bare")
def test_packages_follow_from_the_files(tmp_path: Path, files: dict[str, str], missing: list[str]) -> None:
    assert missing_packages(write(tmp_path, files), vllm_weights(vllm(tmp_path))) == missing


@pytest.mark.usefixtures("bare")
def test_code_of_the_checkpoint_counts_where_it_is_run(tmp_path: Path) -> None:
    code = (
        "import json, einops.layers\nfrom .neighbour import x\nfrom PIL import Image\n"
        "try:\n    import flash_attn\nexcept ImportError:\n    pass\n"
    )
    write(tmp_path, {"tokenization_own.py": code, "modeling_own.py": "import timm\n", "broken.py": "def"})
    assert missing_packages(tmp_path, vllm_weights(vllm(tmp_path))) == []
    assert missing_packages(tmp_path, vllm_weights(vllm(tmp_path, trust_remote_code=True))) == ["einops", "pillow"]
    engine = TransformersSection(kind="transformers", source=str(tmp_path), trust_remote_code=True)
    assert missing_packages(tmp_path, KIND.weights(engine)) == ["einops", "pillow", "timm"]


@pytest.mark.usefixtures("bare")
def test_a_replica_says_what_is_missing_before_it_loads(tmp_path: Path) -> None:
    write(tmp_path, {"config.json": '{"model_type": "smolvlm"}', "tokenizer.json": ""})
    with pytest.raises(EngineError, match=r"needs num2words, .*pip install .*num2words"):
        Weights(vllm_weights(vllm(tmp_path)), {}).bring()


@pytest.mark.parametrize("model_type", TYPES)
def test_every_options_processor_imports_what_is_listed(model_type: str) -> None:
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        pytest.skip("transformers comes with eibench-ray[cpu] or [gpu]")
    folder = Path(spec.origin).parent / "models" / model_type
    code = "".join(path.read_text() for path in folder.glob("*processing_*.py"))
    guards = set(re.findall(r"\bis_(\w+)_available\b", code)) - INSTALLED
    assert guards <= set(missing_imports._BY_TYPE.get(model_type, ()))
    for name in missing_imports._BY_TYPE.get(model_type, ()):
        assert missing_imports._is_here(name), f"{name} belongs into the extras cpu and gpu"

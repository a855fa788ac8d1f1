from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eibench_ray.errors import ConfigError
from eibench_ray.weights.content_identity import identity

SIZE = 100_000  # bytes per tensor: more than is sampled


def write_tensors(path: Path, first: bytes, second: bytes, metadata: str = "pt") -> None:
    """A safetensors file of two byte tensors."""
    header = json.dumps(
        {
            "__metadata__": {"format": metadata},
            "a": {"dtype": "U8", "shape": [len(first)], "data_offsets": [0, len(first)]},
            "b": {"dtype": "U8", "shape": [len(second)], "data_offsets": [len(first), len(first) + len(second)]},
        }
    ).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + first + second)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "pytorch_model.bin").write_bytes(b"x" * 3_000_000)
    write_tensors(folder / "model.safetensors", b"1" * SIZE, b"2" * SIZE)
    return folder


def append(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(b" ")

    return change


def overwrite(name: str, offset: int) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
            file.write(b"#")

    return change


CHANGES: dict[str, Callable[[Path], object]] = {
    "config": append("config.json"),
    "tokenizer": append("tokenizer.json"),
    "template": append("chat_template.jinja"),
    "weights longer": append("model.safetensors"),
    "first tensor": lambda folder: write_tensors(folder / "model.safetensors", b"3" * SIZE, b"2" * SIZE),
    "last tensor": lambda folder: write_tensors(folder / "model.safetensors", b"1" * SIZE, b"3" * SIZE),
    "header": lambda folder: write_tensors(folder / "model.safetensors", b"1" * SIZE, b"2" * SIZE, "np"),
    "start of a blob": overwrite("pytorch_model.bin", 0),
    "end of a blob": overwrite("pytorch_model.bin", -1),
    "a file more": lambda folder: (folder / "generation_config.json").write_text("{}"),
    "a file less": lambda folder: (folder / "tokenizer.json").unlink(),
    "a file renamed": lambda folder: (folder / "tokenizer.json").rename(folder / "tokenizer_config.json"),
    "own code": lambda folder: (folder / "modeling_own.py").write_text("pass"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_identity_changes_with_content(folder: Path, change: Callable[[Path], object]) -> None:
    before = identity(folder)
    change(folder)
    assert identity(folder) != before


def test_identity_is_the_same_elsewhere_and_later(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    for file in copy.iterdir():
        os.utime(file, (0, 0))
    assert identity(copy) == identity(folder)


def test_identity_reads_through_links_as_the_hub_cache_has_them(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for file in folder.iterdir():
        (snapshot / file.name).symlink_to(file)
    assert identity(snapshot) == identity(folder)


def test_identity_ignores_what_an_engine_does_not_read(folder: Path) -> None:
    before = identity(folder)
    (folder / "README.md").write_text("about")
    (folder / "runs").mkdir()
    (folder / "runs" / "config.json").write_text("{}")
    assert identity(folder) == before


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        identity(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"version https://git-lfs.github.com/spec/v1\n", b"\2\0\0\0\0\0\0\0{]"]
)
def test_broken_weights_are_named(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.safetensors cannot be read"):
        identity(folder)


def test_planning_modules_import_no_engine() -> None:
    modules = [
        "weights.content_identity",
        "weights.weights_source",
        "weights.recipes",
        "weights.build",
        "cli.checkpoint",
    ]
    code = "; ".join(f"import eibench_ray.{module}" for module in modules)
    heavy = "import sys; print(sorted({'torch', 'transformers', 'vllm', 'safetensors'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{code}; {heavy}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

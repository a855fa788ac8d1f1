"""`make setup`: which folder of wheels uv is told of."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def known_folder(device: str, **environ: str) -> str:
    """The folder as the commands of a target see it."""
    command = ["make", "-s", "--eval=show:;@echo $$UV_FIND_LINKS", "show", f"DEVICE={device}"]
    clean = {name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"}
    return subprocess.run(command, cwd=ROOT, env=clean | environ, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("device", ["gpu", "gpu-cuda12"])
def test_a_folder_with_torch_for_cpus_is_left_out_on_gpus(tmp_path: Path, device: str) -> None:
    assert known_folder(device, UV_FIND_LINKS=str(tmp_path)).strip() == str(tmp_path)
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert known_folder(device, UV_FIND_LINKS=str(tmp_path)).strip() == ""
    assert known_folder("cpu", UV_FIND_LINKS=str(tmp_path)).strip() == str(tmp_path)

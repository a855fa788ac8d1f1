"""Settings on GPUs as docs/gpu-settings.md has them, by vLLM's CUDA build where it is installed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.gpu_dry.choices import SHAPES, Chosen
from bench.gpu_dry.settings_page import PAGE, render
from eibench_ray.config.model_options import read_models
from eibench_ray.config.options_folder import config_folder

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "gpu-dry" / "bin" / "python"


@pytest.mark.slow
def test_vllm_for_cuda_chooses_what_the_page_says() -> None:
    """A minute of CPU: vLLM is imported once per kind of GPU."""
    if not PYTHON.exists():
        pytest.skip("there is no environment with the CUDA build of vLLM: make gpu-dry")
    done = subprocess.run([PYTHON, "-m", "bench.gpu_dry"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_option_that_this_vllm_would_load_on_a_gpu_is_in_the_table() -> None:
    known, page = json.loads(SHAPES.read_text()), PAGE.read_text(encoding="utf-8")
    expected = {
        model.name
        for model in read_models(config_folder(), None)
        if model.engine.kind == "vllm" and not model.name.startswith("tiny_") and model.engine.runtime_env is None  # type: ignore[attr-defined]
    }
    assert set(known) == expected
    assert all(page.count(f"| {name} | ") == 3 for name in expected)


def test_warnings_stand_once_below_the_table() -> None:
    rows = [
        Chosen("eye", gpu, 2, 8192, 256, blocks, 16, "FLASH_ATTN", "51 to 512", "V2", "MultiprocExecutor", ("Slow.",))
        for gpu, blocks in (("A100 80 GB", 1234), ("H100 80 GB", None))
    ]
    table = render(rows)
    assert "| eye | A100 80 GB | 2 | 8,192 | 256 | 1,234 of 16 | FLASH_ATTN | 51 to 512 | V2 | Multi" in table
    assert "| not known |" in table
    assert table.endswith("- Slow. Of eye.\n")
    assert render([]).endswith("vLLM warns of nothing.\n")

"""One process with vLLM in it, for all scripts that ask vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
QUIET = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


@pytest.fixture(scope="session")
def run_with_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Runs a script of this folder with some arguments and variables; returns the JSON that it prints last."""
    pytest.importorskip("vllm", reason="the engine needs eibench-ray[cpu] or [gpu]")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | QUIET
    command = [sys.executable, str(HERE / "vllm_host.py")]
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as host:
        assert host.stdin is not None
        assert host.stdout is not None

        def run(script: str, *arguments: str, **variables: str) -> Any:
            folder = tmp_path_factory.mktemp("script")
            out, err = folder / "stdout", folder / "stderr"
            job = {"script": str(HERE / script), "arguments": arguments, "variables": variables}
            print(json.dumps(job | {"stdout": str(out), "stderr": str(err)}), file=host.stdin, flush=True)
            assert host.stdout.readline() == "0\n", err.read_text()[-4000:]
            return json.loads(out.read_text().splitlines()[-1])

        yield run
        host.stdin.close()

"""One process with vLLM in it, for all scripts that ask vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
QUIET = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    # Even eager engines have torch compile how they rank log probabilities, each anew: a compiler's 8 s.
    "TORCHDYNAMO_DISABLE": "1",
}


class VllmHost:
    """The process that has imported vLLM."""

    def __init__(self, process: subprocess.Popen[str], make_folder: Callable[[], Path]) -> None:
        self._process = process
        self._make_folder = make_folder

    def run(self, script: str, *arguments: str, **variables: str) -> Any:
        """Runs a script of this folder with some arguments and variables; returns the JSON that it prints last."""
        folder = self._make_folder()
        out, err = folder / "stdout", folder / "stderr"
        assert self._send(str(HERE / script), arguments, variables, out, err) == 0, err.read_text()[-4000:]
        return json.loads(out.read_text().splitlines()[-1])

    def serve(self, arguments: Sequence[str], variables: Mapping[str, str], log: Path) -> int:
        """Starts vLLM's server; returns its process id."""
        return self._send(None, arguments, variables, log, log)

    def _send(
        self, script: str | None, arguments: Sequence[str], variables: Mapping[str, str], out: Path, err: Path
    ) -> int:
        job = {"script": script, "arguments": arguments, "variables": variables, "stdout": str(out), "stderr": str(err)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


@pytest.fixture(scope="session")
def vllm_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmHost]:
    """A process that has imported vLLM, for scripts and servers that are forked from it."""
    pytest.importorskip("vllm", reason="the engine needs eibench-ray[cpu] or [gpu]")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | QUIET
    command = [sys.executable, str(HERE / "vllm_host.py")]
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield VllmHost(process, lambda: tmp_path_factory.mktemp("script"))
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="session")
def run_with_vllm(vllm_host: VllmHost) -> Callable[..., Any]:
    """Runs a script of this folder in a process that has imported vLLM."""
    return vllm_host.run

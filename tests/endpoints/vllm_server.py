"""A real vLLM server on loopback with a tiny model that sees pictures, for tests that are about a real peer.

with VllmServer(serve, log_file, key="...") as server:    # `serve` starts it (engines/conftest.py)
    ... base_url=server.base_url, model=server.model ...
"""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

Serve = Callable[[Sequence[str], Mapping[str, str], Path], int]  # arguments, variables, a log: the process id

START_TIMEOUT_S = 240.0


class VllmServer:
    """`vllm serve` of a checkpoint that `eibench-ray prepare checkpoint` builds."""

    def __init__(self, serve: Serve, log_file: Path, key: str, checkpoint: str = "tiny_idefics3") -> None:
        """A server that has not started; `log_file` is what it prints."""
        self.model = checkpoint
        self._serve = serve
        self._log_file = log_file
        self._key = key
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = int(free.getsockname()[1])
        self._process: psutil.Process | None = None

    @property
    def base_url(self) -> str:
        """Address that a client is told."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> VllmServer:
        from eibench_ray.weights.build import build_checkpoint

        options: dict[str, Any] = {
            "model": build_checkpoint(self.model),
            "served-model-name": self.model,
            "host": "127.0.0.1",
            "port": self._port,
            "dtype": "float32",
            "max-model-len": 1024,
            "max-num-seqs": 8,
            "max-num-batched-tokens": 16_384,
            "kv-cache-memory-bytes": 64 << 20,
            # A random model fills a JSON reply with blanks up to its limit.
            "structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
        }
        # In one process, whole prompts at a time: vLLM 0.32 dies on a CPU when a seeded prompt is computed in chunks.
        flags = ["--enforce-eager", "--no-enable-chunked-prefill", "--disable-log-stats"]
        arguments = [*flags, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        own = {"VLLM_API_KEY": self._key, "VLLM_LOGGING_LEVEL": "WARNING"}
        self._process = psutil.Process(self._serve(arguments, own, self._log_file))
        self._wait()
        return self

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                if self._is_over() or time.monotonic() > deadline:
                    self.__exit__()
                    raise RuntimeError(f"vLLM did not start: {self._log_file.read_text()[-3000:]}") from None
            time.sleep(0.25)

    def _is_over(self) -> bool:
        assert self._process is not None
        return not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE

    def __exit__(self, *_: object) -> None:
        process, deadline = self._process, time.monotonic() + 15
        assert process is not None
        while not self._is_over() and time.monotonic() < deadline:
            process.terminate()
            time.sleep(0.2)
        if not self._is_over():
            process.kill()

"""Why a server ended, in the words that its last lines have for it."""

from __future__ import annotations

import pytest

from eibench_ray.serve.server_process import LONGEST, describe_end

CORE = "(EngineCore pid=12) ERROR 11-26 06:20:51 [core.py:1100] "
FALLEN = f"""{CORE}EngineCore failed to start.
{CORE}Traceback (most recent call last):
{CORE}  File "core.py", line 1, in run
{CORE}ValueError: the KV cache holds 12 of 4096 tokens.
Traceback (most recent call last):
  File "api_server.py", line 1, in <module>
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{'EngineCore': 1}}
"""


@pytest.mark.parametrize(
    ("code", "output", "reason"),
    [
        (1, FALLEN, "ValueError: the KV cache holds 12 of 4096 tokens (exit code 1)"),
        (1, FALLEN.splitlines()[-1], f"{FALLEN.splitlines()[-1]} (exit code 1)"),
        (
            2,
            "usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --odd=1\n",
            "api_server.py: error: unrecognized arguments: --odd=1 (exit code 2)",
        ),
        (
            1,
            "/venv/bin/python: No module named vllm.entrypoints",
            "/venv/bin/python: No module named vllm.entrypoints (exit code 1)",
        ),
        (1, "\x1b[31mOSError: disk full\x1b[0m\nbye\n\n", "OSError: disk full (exit code 1)"),
        (3, "one thing\nand another\n", "and another (exit code 3)"),
        (0, "", "it said nothing (exit code 0)"),
        (-9, "WARNING 11-26 06:20:51 [a.py:1] all is well\n", "killed by SIGKILL"),
        (-6, "vllm.Error: no\n", "vllm.Error: no (killed by SIGABRT)"),
    ],
)
def test_the_last_error_of_its_own_is_told(code: int, output: str, reason: str) -> None:
    assert describe_end(code, output) == reason


def test_a_reason_is_a_paragraph() -> None:
    assert len(describe_end(1, "ValueError: " + "so " * 1000)) < LONGEST + 20

"""Runs scripts that ask vLLM, each in a process forked from this one, which has imported vLLM once for all of them.

A line of JSON on stdin names a script, its arguments, its variables, and the files for its output; its exit status is
printed. Without a script it is vLLM's server, which stays: its process id is printed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any


def fork_engines() -> None:
    """Imports vLLM, and has it fork its EngineCores: for CPUs it spawns them (0.32), and each imports vLLM anew."""
    import vllm.v1.engine.async_llm
    import vllm.v1.engine.utils
    from vllm.model_executor.models import registry
    from vllm.platforms import current_platform

    import eibench_ray.engines.vllm.core_imports  # noqa: F401 - last, since it freezes what is imported

    assert vllm.v1.engine.utils.get_mp_context, "core_process.py puts another one in its place, too"
    vllm.v1.engine.utils.get_mp_context = lambda: multiprocessing.get_context("fork")
    # It looks at each model's class once on a machine, in a Python of its own, since an import may ask for a GPU: 11 s.
    assert registry._run_in_subprocess
    registry._run_in_subprocess = lambda look: look()
    if register := getattr(current_platform, "register_triton_kernel_overrides", None):
        # It goes through all names of all modules: once for all, instead of in each EngineCore.
        register()
        type(current_platform).register_triton_kernel_overrides = classmethod(lambda cls: None)  # noqa: ARG005


def run(job: dict[str, Any]) -> None:
    """Runs a script as Python would run it; returns when its output is written."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        with Path(job[name]).open("wb") as file:
            os.dup2(file.fileno(), number)
    os.environ.update(job["variables"])
    sys.argv = [job["script"] or "serve", *job["arguments"]]
    try:
        if job["script"]:
            runpy.run_path(job["script"], run_name="__main__")
        else:
            runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
        code = 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    fork_engines()
    for line in sys.stdin:
        job = json.loads(line)
        if (child := os.fork()) == 0:
            run(job)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if job["script"] else child, flush=True)

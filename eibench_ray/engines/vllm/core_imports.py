"""Modules of vLLM's EngineCore, imported in the fork server. It imports vllm.

What cannot be imported here fails again where it is used, and says why.
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress

gc.disable()
with suppress(Exception):
    import vllm.v1.engine.core
    import vllm.v1.executor.uniproc_executor
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        import vllm.v1.worker.cpu_worker
    else:
        import vllm.v1.worker.gpu_worker

    import setproctitle

    # It finds the place of a process's name by the first variable, which a forked process has changed; the variables
    # themselves are left, by which a replica's processes are known.
    os.environ["SPT_NOENV"] = "1"
    setproctitle.getproctitle()

    if current_platform.is_cpu():  # it asks for no GPU here, and is imported for every model, when it is loaded
        import vllm.model_executor.layers.quantization.online.base  # noqa: F401
# What is shared with the process that is forked stays so: its collections of garbage write into each object.
gc.freeze()
gc.enable()

"""Forks vLLM's EngineCore from a process that imports vLLM while the replica does.

In a Ray actor vLLM 0.32 spawns its EngineCore, which then imports vLLM, torch and transformers once more, after the
replica has: 10 s of a start. The replica itself cannot be forked: the copy would hold Ray's connections and the pipe of
its guard. Python's fork server is a process of its own, in the replica's group, which holds nothing of it.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from eibench_ray.engines.engine_kind import Device
    from eibench_ray.engines.vllm.vllm_section import VllmSection

_MODULES = ["eibench_ray.engines.vllm.core_imports"]


def begin_imports(section: VllmSection, device: Device) -> bool:
    """Whether the engine's processes can come from the fork server; then it is started, and not waited for.

    On cores, vLLM has libraries preloaded into what it spawns, so that several threads keep to their cores. Processes
    that Ray starts (several nodes), or that are bound to memory of their own, start otherwise.
    """
    has_threads = device == "cpu" and os.environ.get("OMP_NUM_THREADS") != "1"
    is_spawned = os.environ.get("VLLM_WORKER_MULTIPROC_METHOD") == "spawn" or section.args.get("numa_bind")
    if has_threads or is_spawned or section.args.get("distributed_executor_backend") == "ray":
        return False
    multiprocessing.set_forkserver_preload(_MODULES)
    forkserver.ensure_running()
    return True


@contextmanager
def forked_cores() -> Iterator[None]:
    """Has vLLM take its EngineCores from the fork server."""
    from vllm.v1.engine import utils

    given, utils.get_mp_context = utils.get_mp_context, CoreContext
    try:
        yield
    finally:
        utils.get_mp_context = given


class _CoreProcess(ForkServerProcess):
    """A process that has the environment and the number of threads that a spawned one would have."""

    def start(self) -> None:
        import torch

        self._variables, self._num_threads = dict(os.environ), torch.get_num_threads()
        super().start()

    def run(self) -> None:
        import torch

        os.environ.clear()
        os.environ.update(self._variables)
        torch.set_num_threads(self._num_threads)
        super().run()


class CoreContext(ForkServerContext):
    """Makes processes that the fork server forks."""

    Process: ClassVar[type[ForkServerProcess]] = _CoreProcess

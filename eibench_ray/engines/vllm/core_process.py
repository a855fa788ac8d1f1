"""Forks vLLM's EngineCore from a process that imports vLLM while the replica does.

In a Ray actor vLLM 0.32 spawns its EngineCore, which then imports vLLM, torch and transformers once more, after the
replica has: 10 s of a start. The replica itself cannot be forked: the copy would hold Ray's connections and the pipe of
its guard. Python's fork server is a process of its own, in the replica's group, which holds nothing of it.

It also looks at a model's class, which vLLM does once on a machine, in a Python that imports vLLM for that: 11 CPU s.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock

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
    """Has vLLM take its EngineCores from the fork server, and what it finds in a model's class."""
    from vllm.model_executor.models import registry
    from vllm.v1.engine import utils

    look_apart: Any = getattr(registry, "_run_in_subprocess", None)  # vLLM 0.22 to 0.32 have it

    def look(call: Callable[[], Any]) -> Any:
        return look_in_fork(call, look_apart)

    with (
        mock.patch.object(utils, "get_mp_context", CoreContext),
        mock.patch.object(registry, "_run_in_subprocess", look, create=True),
    ):
        yield


def look_in_fork(look: Callable[[], Any], look_apart: Callable[[Callable[[], Any]], Any]) -> Any:
    """The outcome of a call in a forked process, which may ask for a GPU; of vLLM's own way where that fails."""
    import cloudpickle

    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found")
        process = CoreContext().Process(target=_write_found, args=(cloudpickle.dumps(look), found))
        process.start()
        process.join()
        return pickle.loads(found.read_bytes()) if process.exitcode == 0 else look_apart(look)


def _write_found(look: bytes, found: Path) -> None:
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    found.write_bytes(pickle.dumps(pickle.loads(look)()))


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

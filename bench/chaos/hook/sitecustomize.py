"""Read by every Python of a chaos run as it starts, since this folder stands on its PYTHONPATH.

CHAOS_SENT names a file that gets one byte for each request that is handed to an engine, before it is: a write of one
byte to a file opened for appending is whole, and survives the SIGKILL of whoever wrote it. CHAOS_CLOCK_S shifts what
this process takes for the time of day.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

COUNTED = "eibench_ray.engines.registry"


class _Counted(importlib.abc.Loader):
    """Loads the module that creates engines, so that what it creates counts its requests."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        create = module.create_engine

        def create_counted(*args: Any, **kwargs: Any) -> Any:
            engine = create(*args, **kwargs)
            generate = engine.generate
            file = os.open(os.environ["CHAOS_SENT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

            def counted(request: Any, images: Sequence[bytes]) -> Any:
                os.write(file, b".")
                return generate(request, images)

            engine.generate = counted
            return engine

        module.create_engine = create_counted  # type: ignore[attr-defined]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds that one module, where everything else would find it, too."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != COUNTED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Counted(spec.loader)
        return spec


if "CHAOS_SENT" in os.environ:
    sys.meta_path.insert(0, _Finder())
if shift_s := float(os.environ.get("CHAOS_CLOCK_S", "0")):
    _time = time.time
    time.time = lambda: _time() + shift_s

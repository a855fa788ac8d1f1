"""pyarrow without pandas, until somebody imports pandas.

pyarrow imports pandas for its first array, so that it knows a DataFrame when it sees one: 0.35 CPU s and 40 MB in each
process of a run, none of which has one. Here it looks when pandas is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import pyarrow as pa


class _LatePandas:
    """Finds pandas for all but pyarrow's first look, and has pyarrow look again once it is there."""

    is_hidden = False

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Spec of pandas; None for everything else.

        Raises:
            ImportError: it is hidden.
        """
        if name != "pandas":
            return None
        if self.is_hidden:
            raise ImportError("pandas is not looked for yet")
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_show(module: ModuleType) -> None:
            load(module)
            _ = pa.lib._pandas_api.pd

        spec.loader.exec_module = load_and_show  # type: ignore[method-assign]
        return spec


def put_off_pandas() -> None:
    """Has pyarrow make arrays without importing pandas; where that is imported already, nothing changes."""
    if "pandas" in sys.modules:
        return
    finder = _LatePandas()
    sys.meta_path.insert(0, finder)
    finder.is_hidden = True
    try:
        pa.array([])
    finally:
        finder.is_hidden = False

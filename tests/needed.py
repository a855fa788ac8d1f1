"""Packages that a module of tests needs: the module skips without them, and imports them only once a test uses them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest


class Needed:
    """A module whose first use imports it: every worker of xdist collects all tests, and vLLM takes 5 CPU seconds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_") and attribute != "__version__":  # pytest looks for its own marks on each name
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)


def need(name: str, reason: str) -> Any:
    """The module of that name, imported at its first use; skips the module of tests where it is not installed."""
    if find_spec(name.partition(".")[0]) is None:
        pytest.skip(reason, allow_module_level=True)
    return Needed(name)

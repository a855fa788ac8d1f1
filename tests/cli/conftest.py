"""The command `eibench-ray`, called as a user calls it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.cli.app import main


@dataclass(frozen=True, slots=True)
class Called:
    """Output and exit code of a call of the command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object that `--json` ends stdout with."""
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Called]:
    """The command's whole `main`, in an empty folder and in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["eibench-ray", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Called(code or 0, printed.out, printed.err)

    return call

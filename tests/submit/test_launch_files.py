"""The files in launch/: shell that shellcheck passes, YAML that can be read, and commands that can be planned."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from eibench_ray.cli.app import main

LAUNCH = Path(__file__).parents[2] / "launch"


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say_of_launching(path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", path], capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""


def command_of(value: Any) -> str | None:
    """The text of a document in which the sweep is run."""
    if isinstance(value, dict | list):
        found = map(command_of, value.values() if isinstance(value, dict) else value)
        return next(filter(None, found), None)
    return value if isinstance(value, str) and "eibench-ray run" in value else None


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.yaml")), ids=lambda path: path.name)
def test_what_a_file_launches_is_a_sweep_that_can_be_planned(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = command_of(yaml.safe_load(path.read_text()))
    assert command is not None
    arguments = shlex.split(command.partition("eibench-ray run ")[2])
    arguments = [one for one in arguments if "=" in one or one == "-m"]
    own = [one for one in arguments if not one.startswith(("hydra.", "store.", "+"))]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["eibench-ray", "plan", "--json", *own])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cells"]

"""Completion in a shell: commands, options, Hydra's groups and their options, and the ids of runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eibench_ray.cli.shell_completion import complete_override

ASKS = "import sys; from eibench_ray.cli.app import app; app(prog_name='eibench-ray')"


def complete(words: list[str], folder: Path, shell: str = "zsh") -> str:
    """The answer of the command to a shell, about the last word."""
    asked = {"_EIBENCH_RAY_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": " ".join(["eibench-ray", *words])}
    asked |= {"COMP_WORDS": asked["_TYPER_COMPLETE_ARGS"], "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-c", ASKS], cwd=folder, env=os.environ | asked, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("begun", "ends"),
    [
        ("sett", ["setting=cfsa"]),
        ("model", ["model=", "model@captioner=", "model@asker=", "model@judge.model="]),
        ("model=ech", ["model=echo"]),
        ("model=echo,ec", []),
        ("model=llava_next_7b,ec", ["model=llava_next_7b,echo"]),
        ("model@judge.model=ech", ["model@judge.model=echo"]),
        ("nothing", []),
        ("nothing=e", []),
    ],
)
def test_an_override_is_continued(begun: str, ends: list[str]) -> None:
    found = complete_override([], begun)
    assert found[: len(ends)] == ends
    assert bool(found) == bool(ends)


def test_bash_makes_three_words_of_an_override_and_wants_the_last() -> None:
    assert complete_override(["-m", "model", "="], "ech") == ["echo"]
    assert "echo" in complete_override(["model"], "=")
    assert complete_override(["model", "="], "llava_next_7b,ec") == ["llava_next_7b,echo"]


@pytest.mark.parametrize("words", [["--config-dir", "mine"], ["--config-dir=mine"], ["--config-dir", "=", "mine"]])
def test_options_of_an_own_folder_are_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "mine_7b.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert complete_override(words, "model=mine") == ["model=mine_7b"]


def test_the_command_answers_a_shell(tmp_path: Path) -> None:
    assert '"report"' in complete(["repo"], tmp_path)
    assert '"experiment=demo"' in complete(["run", "experiment=de"], tmp_path)
    assert '"--json"' in complete(["run", "--js"], tmp_path)


def test_runs_are_offered_by_their_ids(tmp_path: Path) -> None:
    (tmp_path / "store" / "runs").mkdir(parents=True)
    (tmp_path / "store" / "runs" / "20260101-000000-abcd.json").touch()
    assert '"20260101-000000-abcd"' in complete(["report", "2026"], tmp_path)


@pytest.mark.skipif(shutil.which("bash") is None, reason="this machine has no Bash")
def test_bash_completes_an_option(tmp_path: Path) -> None:
    """Through the script that `--show-completion` prints, in a real Bash."""
    command = tmp_path / "bin" / "eibench-ray"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{ASKS}" "$@"\n')
    command.chmod(0o755)
    script = """
    PATH="$PWD/bin:$PATH"
    eval "$(_EIBENCH_RAY_COMPLETE=source_bash eibench-ray)"
    COMP_WORDS=(eibench-ray run -m model = smoll); COMP_CWORD=5
    function=$(complete -p eibench-ray | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    $function eibench-ray
    echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split()[:1] == ["smollm2_135m"], done.stderr

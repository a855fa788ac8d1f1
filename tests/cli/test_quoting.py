"""Values that a shell or Hydra would read as something else: the message says how to write them, and that works."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.config.hydra_errors import quote_for_shell

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

CELL = ("model=echo", "judge=echo", "dataset=demo", "tracking=none")
VALUES = [
    *("runs/epoch=3", "data/(v2)", "it's", "données", "日本", "a,b", "x[1]", "{x}", "a#b", "a&b", "x;y", "x!y", "<b>"),
    *('say "no"', 'it\'s "so"', "a^b", "`x`", "a\\(b) c'", "x=", "=x", "(", "back\\slash (1)", "a b=c"),
]


# Three values in each plan: what is said and read of a text is the same for all keys that hold one.
@pytest.mark.parametrize("values", [VALUES[at : at + 3] for at in range(0, len(VALUES), 3)], ids=" ".join)
def test_what_the_message_says_is_read_as_it_was_meant(command: Command, values: list[str]) -> None:
    values = [*values, *VALUES][:3]
    pasted = []
    for key, value in zip(("store.root", "sweep", "model.name"), values, strict=True):
        told = command("plan", *CELL, f"{key}={value}")
        assert told.code == 2
        pasted += shlex.split(told.err.strip().rpartition(": ")[2])
    assert len(pasted) == 3
    called = command("plan", *CELL, *pasted, "--json")
    assert called.code == 0, called.err
    plan = called.json
    assert [plan["store"], plan["sweep"], plan["cells"][0]["model"]] == [str(Path.cwd() / values[0]), *values[1:]]


def test_bash_hands_over_what_was_pasted() -> None:
    for value in VALUES:
        quoted = quote_for_shell(f"store.root={value}")
        assert quoted is not None
        code = "import sys; sys.stdout.buffer.write(sys.argv[1].encode())"
        shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} {quoted}"
        said = subprocess.run(["bash", "-c", shell], capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"})
        assert said.stdout.decode() == shlex.split(quoted)[0]


def test_a_home_folder_is_found_in_quotes(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    told = command("plan", *CELL, "store.root=~/st")
    assert told.err.strip().endswith("""'store.root="~/st"'""")
    assert command("plan", *CELL, 'store.root="~/st"', "--json").json["store"] == f"{tmp_path}/home/st"


@pytest.mark.parametrize(
    "key", ["store.root", "dataset.path", "dataset.name", "model.name", "setting.name", "judge.name", "sweep"]
)
@pytest.mark.parametrize("value", ["", "' '"])
def test_what_is_empty_is_refused(command: Command, key: str, value: str) -> None:
    called = command("plan", *CELL, f"{key}={value}")
    assert called.code == 2
    assert f"{key} is {value.strip(chr(39))!r}: empty" in called.err


@pytest.mark.parametrize(
    ("value", "quoted"), [("12", '"12"'), ("true", '"true"'), ("null", '"null"'), ("[x]", '"VALUE"')]
)
def test_a_text_that_reads_as_something_else_stands_in_quotes(command: Command, value: str, quoted: str) -> None:
    assert f"'sweep={quoted}'" in command("plan", *CELL, f"sweep={value}").err
    assert command("plan", *CELL, f"sweep={quoted}", "--json").json["sweep"] == quoted.strip('"')


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("a", "b"), [("b", "a"), ("a", "a")])
def test_defaults_that_lead_back_are_told_with_their_files(
    command: Command, tmp_path: Path, a: str, b: str, many: bool
) -> None:
    folder = tmp_path / "own" / "model"
    folder.mkdir(parents=True)
    for name, base in (("a", a), ("b", b)):
        (folder / f"{name}.yaml").write_text(f"defaults: [{base}, _self_]\n")
    models = (
        "model=a,echo,tiny_llama,tiny_llava,replay,endpoint,tiny_qwen2_vl,smolvlm_256m,qwen3_8b" if many else "model=a"
    )
    called = command("plan", *(["-m"] if many else []), "--config-dir", tmp_path / "own", *CELL[1:], models)
    assert called.code == 2
    assert "the defaults of an option file lead back to it: model/" in called.err
    assert f"({folder}/" in called.err


def test_a_folder_that_is_not_utf_8_is_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff"))
    folder.mkdir()
    monkeypatch.chdir(folder)
    for line in (("plan", *CELL), ("run", *CELL), ("run", "-m", *CELL, "seed=1,2")):
        called = command(*line)
        assert (called.code, called.err.count("\n")) == (2, 1)
        assert "bad\\udcff is not UTF-8" in called.err
    assert not list(folder.iterdir())

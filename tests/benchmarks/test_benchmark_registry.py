"""Benchmarks of installed packages: their commands beside this package's own, and what is said of broken ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eibench_ray.benchmarks.benchmark_registry import BENCHMARKS, gather, load_all
from eibench_ray.cli.app import main
from eibench_ray.errors import ConfigError

Install = Callable[[str, str], None]
OURS = """
from typing import Annotated
import typer
from eibench_ray.benchmarks.benchmark import Benchmark, FileScores
from eibench_ray.datasets.writer import PreparedReport

def prepare(count: Annotated[int, typer.Option("--count", help="How many.")] = 2, *, on_row) -> "PreparedReport":
    '''Prepare a set of numbers.'''
    on_row(count, count)
    return PreparedReport((), (f"{count} numbers",))

MINE = Benchmark(prepare=prepare, scripts={"counted": lambda path, subset: FileScores(f"{path.name} {subset}\\n", {})})
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of one module that brings a benchmark under its own name."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def write(name: str, source: str) -> None:
        (site / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{BENCHMARKS.entry_points}]\n{name} = {name}:MINE\n")

    return write


def call(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["eibench-ray", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_package_brings_one() -> None:
    assert "eibench" in BENCHMARKS.names()
    assert set(gather(lambda one: one.checks, "command")) == {"verify"}
    assert set(gather(lambda one: one.exports, "format")) == {"eibench", "ground-truth"}


def test_an_importer_is_a_command_with_its_options(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("numbers_bench", OURS)
    assert call("prepare", "numbers_bench", "--count", "5", monkeypatch=monkeypatch) == 0
    assert "note: 5 numbers" in capsys.readouterr().out
    assert call("prepare", "--help", monkeypatch=monkeypatch) == 0
    assert "Prepare a set of numbers." in capsys.readouterr().out
    assert call("prepare", "numbers_bench", "--count", "many", monkeypatch=monkeypatch) == 2


def test_a_file_is_scored_by_the_protocol_that_is_named(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("numbers_bench", OURS)
    file = tmp_path / "judged.jsonl"
    file.write_text("")
    chosen = ("--protocol", "counted", "--subset", "odd")
    assert call("rescore", str(file), *chosen, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "judged.jsonl odd\n"
    assert call("rescore", str(file), monkeypatch=monkeypatch) == 2
    assert "several protocols (official, counted)" in capsys.readouterr().err.replace(
        "counted, official", "official, counted"
    )
    assert call("rescore", str(file), "--protocol", "other", monkeypatch=monkeypatch) == 2
    assert "there is no such protocol" in capsys.readouterr().err


def test_two_that_bring_one_name_are_both_named(install: Install) -> None:
    install("one_bench", OURS)
    install("two_bench", OURS)
    with pytest.raises(
        ConfigError, match="protocol 'counted' is brought by the benchmarks 'one_bench' and 'two_bench'"
    ):
        gather(lambda one: one.scripts, "protocol")


def test_one_that_cannot_be_loaded_leaves_the_others(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("broken_bench", "raise OSError('no disk')")
    install("wrong_bench", "MINE = 1")
    assert {"broken_bench", "wrong_bench"}.isdisjoint(load_all())
    assert "eibench" in load_all()
    assert "no disk" in caplog.text
    assert "wrong_bench" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "--as", "nothing"), "--as nothing: there is no such format; there are rows, "),
        (("export", "--model", "echo"), "--model chooses for a benchmark's format"),
        (("nonsense",), "No such command 'nonsense'"),
        (("prepare", "nonsense"), "No such command 'nonsense'"),
    ],
)
def test_what_does_not_exist_ends_with_two(
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments, monkeypatch=monkeypatch) == 2
    assert words in " ".join(capsys.readouterr().err.split())

"""Every command shows hostile names as they are: no markup, no control sequence, no line more than it prints."""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import eibench_ray
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

NAMES = {  # YAML's escapes
    "model": r"=m [/b][red] :smile: \e[31m|<script>",
    "setting": r"-s \e]0;title\a [/]\u202E`x`",
    "dataset": r"@d \e]52;c;aGk=\a\n## x",
    "judge": r"+j ![i](http://x.y) \e]8;;http://x\e\\ \x9b2J",
    "sweep": r"w </script> [/b] \r\e[2J \u2028",
}
PACKAGE = Path(eibench_ray.__file__).parent


def is_harmless(text: str) -> bool:
    return all(character.isprintable() or character in "\n\t" for character in text)


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[str, ...]:
    """The arguments of a run all of whose names are hostile; its store lies in a folder whose name is."""
    own = tmp_path / "own"
    for group, base in (("model", "echo"), ("setting", "user_question"), ("dataset", "demo"), ("judge", "echo")):
        file = own / group / "hostile.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f'defaults: [{base}, _self_]\nname: "{NAMES[group]}"\n')
    (own / "experiment").mkdir()
    (own / "experiment" / "hostile.yaml").write_text(f'# @package _global_\nsweep: "{NAMES["sweep"]}"\n')
    options = [f"{group}=hostile" for group in ("model", "setting", "dataset", "judge", "experiment")]
    root = tmp_path / "[/b] st"
    return (
        *("--config-dir", str(own), *options, "tracking=none", "dataset.limit=4", "store.slice_rows=2"),
        *("cluster.num_cpus=1", f'store.root="{root}"', f'hydra.run.dir="{tmp_path}/[/b] run"'),
    )


@pytest.mark.usefixtures("commands_share_ray")
def test_every_command_shows_them_as_they_are(command: Command, hostile: tuple[str, ...], tmp_path: Path) -> None:
    model = in_line("=m [/b][red] :smile: \x1b[31m|<script>")

    def check(*arguments: object, shows: str = "", code: int = 0) -> Called:
        called = command(*arguments)
        assert called.code == code, called.err
        assert is_harmless(called.out + called.err)
        assert "Traceback" not in called.err
        assert "\n## x" not in called.out + called.err
        joined = "".join((called.out + called.err).split())
        assert "".join(shows.split()) in joined, called.out
        return called

    check("plan", *hostile, shows=model)
    check("plan", "--full", *hostile, shows=model)
    check("prefetch", *hostile)
    check("simulate", *hostile, "--gantt", tmp_path / "s.html")
    check("submit", "slurm", "--dry-run", *hostile)
    check("run", *hostile, shows=f"{tmp_path}/[/b] run")
    run, store = tmp_path / "[/b] run", tmp_path / "[/b] st"
    check("status", run, shows="w </script> [/b] ")
    check("report", run, "--gantt", run / "g.html", shows=model)
    check("report", run, "--gantt", run / "g.svg")
    check("rescore", run, shows=model)
    check("compare", run)
    check("verify", run)
    check("export", run, "--out", tmp_path / "[/b] out", shows=f"{tmp_path}/[/b] out")
    check("fsck", store, shows=str(store))
    check("status", tmp_path / "[/b]\x1b[2J", code=2)
    check("models", "--config-dir", tmp_path / "own", shows="=m [/b][red] :smile:")  # folded
    for file in (*run.glob("*.md"), *run.glob("*.csv"), run / "g.svg"):
        assert is_harmless(file.read_text(encoding="utf-8")), file
    for file in (run / "g.html", tmp_path / "s.html"):
        assert "<script>[" not in file.read_text(encoding="utf-8").replace("\n", "")
        assert "</script> [/b]" not in file.read_text(encoding="utf-8")
    with (run / "leaderboard.csv").open(newline="") as file:
        _, row = csv.reader(file)
    assert [cell[:2] for cell in row[:4]] == ["'=", "'-", "'@", "'+"]
    text = (run / "leaderboard.md").read_text(encoding="utf-8")
    tables = [[line for line in part.splitlines() if line[:1] == "|"] for part in text.split("\n## ")]
    for table in tables:
        assert len({line.replace("\\\\", "").replace("\\|", "").count("|") for line in table}) == 1
    table = [line for table in tables for line in table]
    assert "<script" not in "\n".join(table).replace("\\<script", "")


def test_nothing_else_prints_markup_or_opens_a_console() -> None:
    """One way to print data: `cli/console.py`. A console, markup or an escape elsewhere would go past it."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in ("rich.markup", "rich"):
                found += [
                    f"{name}: {alias.name}" for alias in node.names if alias.name in ("escape", "render", "print")
                ]
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "Console" and name != "cli/console.py":
                found.append(f"{name}: Console(")
            if called == "from_markup" or any(
                keyword.arg == "markup" and getattr(keyword.value, "value", None) is True for keyword in node.keywords
            ):
                found.append(f"{name}: markup")
            if called == "TextColumn" and not any(keyword.arg == "markup" for keyword in node.keywords):
                found.append(f"{name}: TextColumn reads markup")
            if called in ("write_csv", "to_csv") and isinstance(node.func, ast.Attribute):
                found += [] if name == "report/spreadsheet.py" else [f"{name}: {called}"]
    assert found == []

"""Every command in README and docs runs as it stands, or says what it needs and is one that the command takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from page_blocks import PAGES, ROOT, read_blocks

from eibench_ray.cli.app import app
from eibench_ray.cli.hydra_entry import call_hydra
from eibench_ray.config.load import to_config

if TYPE_CHECKING:
    from click import Command
    from conftest import Called

    from eibench_ray.config.hydra_jobs import HydraJob

SWEEPS = {"run", "plan", "prefetch", "simulate", "serve", "submit slurm"}
COMMAND = typer.main.get_command(app)
# A line that a page's commands print.
PRINTED = {"docs/rules.md": r"by_hand.* 50 .*100\.0"}
# What may stand before a command.
CALL = re.compile(r"^(\$ |\w+=\S+ )*(eibench-ray|make|pytest|python|pip|uv|ray|sbatch|source|export) ", re.MULTILINE)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def has_script(page: Path) -> bool:
    return any(block.language == "sh" and not block.is_marked for block in read_blocks(page))


# Pages whose commands are processes of their own, each with its Ray: one with a run, and one with what reads it.
ALONE = ("docs/how-to/private-data.md",)
SCRIPTS = [page for page in PAGES if has_script(page)]
# Stands on the PATH in the command's place, and has the test's process do what it is told to: it has imported all that
# the command needs, and has a Ray (a start of both takes a run 10 CPU s, which is most of it).
STAND_IN = """#!{python} -I
import os, sys
from multiprocessing.connection import Client
with Client({address!r}) as test:
    test.send((os.getcwd(), sys.argv[1:]))
    code, out, err = test.recv()
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


@pytest.mark.parametrize("page", [page for page in SCRIPTS if name(page) in ALONE], ids=name)
def test_the_commands_of_a_page_run_in_a_shell(page: Path, tmp_path: Path) -> None:
    check_script(page, tmp_path, environment_of(tmp_path, tmp_path))


@pytest.mark.usefixtures("commands_share_ray")
@pytest.mark.parametrize("page", [page for page in SCRIPTS if name(page) not in ALONE], ids=name)
def test_the_commands_of_a_page_run_as_they_stand(
    page: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    command: Callable[..., Called],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caches, tools = (
        tmp_path_factory.getbasetemp() / "cache",
        tmp_path_factory.mktemp("tools"),
    )  # as one user's pages have
    environment = environment_of(tmp_path, caches)
    for variable in environment.keys() - {"PATH"}:
        monkeypatch.setenv(variable, environment[variable])
    environment["PATH"] = f"{tools}:{environment['PATH']}"
    with Listener() as listener, ThreadPoolExecutor(1) as pool:
        (tools / "eibench-ray").write_text(STAND_IN.format(python=sys.executable, address=listener.address))
        (tools / "eibench-ray").chmod(0o755)
        checked = pool.submit(check_script, page, tmp_path, environment)
        checked.add_done_callback(lambda _: Client(listener.address).close())
        # What a command does with signals, only the main thread can do.
        while not checked.done():
            with listener.accept() as shell:
                if not checked.done():
                    folder, arguments = shell.recv()
                    monkeypatch.chdir(folder)
                    called = command(*arguments)
                    shell.send((called.code, called.out, called.err))
    checked.result()


def environment_of(home: Path, caches: Path) -> dict[str, str]:
    """The variables of a user who has set none."""
    kept = {key: os.environ[key] for key in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if key in os.environ}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(caches),
        "COLUMNS": "120",
        "CI": "true",
        "WANDB_MODE": "offline",
    }


def check_script(page: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Runs the commands of a page in bash, with the files that it shows."""
    script = []
    for number, block in enumerate(read_blocks(page)):
        if block.language == "sh" and not block.is_marked:
            script.append(block.script())
        elif block.title is not None:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)
        elif block.language == "python":
            (folder / f".block_{number}.py").write_text(block.text)
            script.append(f"python .block_{number}.py\n")
    (folder / ".script.sh").write_text("".join(script))
    done = subprocess.run(
        ["bash", "-eux", ".script.sh"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert re.search(PRINTED.get(name(page), ""), done.stdout + done.stderr), done.stdout


MARKED = [(page, call) for page in PAGES for block in read_blocks(page) for call in block.marked_calls()]


@pytest.mark.parametrize(("page", "call"), MARKED, ids=[f"{name(page)}:{' '.join(call)[:60]}" for page, call in MARKED])
def test_a_command_that_needs_something_is_one_that_is_taken(
    page: Path, call: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in read_blocks(page):
        if block.title is not None:
            (tmp_path / block.title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.title).write_text(block.text)
    monkeypatch.chdir(tmp_path)
    command, found, words = find_command(call)
    rest = parse_options(command, words)
    if found in SWEEPS:
        call_hydra(check_jobs, rest, leaves_traces=False)


def find_command(call: Sequence[str]) -> tuple[Command, str, list[str]]:
    """The command that a call means, its name, and the words behind it."""
    command, words, found = COMMAND, list(call), []
    while children := children_of(command):
        assert words, f"{call} has no command"
        assert words[0] in children, f"there is no command {words[0]!r}"
        command = children[words[0]]
        found.append(words.pop(0))
    return command, " ".join(found), words


def children_of(command: Any) -> dict[str, Command]:
    """The commands of a group, those of plug-ins, too."""
    if not hasattr(command, "commands"):
        return {}
    context = command.context_class(command)
    return {name: command.get_command(context, name) for name in command.list_commands(context)}


def parse_options(command: Any, words: Sequence[str]) -> list[str]:
    """Refuses options that the command does not have; returns what is handed on to Hydra."""
    context = command.context_class(command, **command.context_settings)
    _, rest, _ = command.make_parser(context).parse_args(list(words))
    return list(rest)


def check_jobs(jobs: Sequence[HydraJob], folder: Path) -> None:  # noqa: ARG001 - nothing is written
    for job in jobs:
        to_config(job.raw)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_stand_in_blocks_of_sh(page: Path) -> None:
    for block in read_blocks(page):
        if block.language in ("", "text", "bash", "console", "shell"):
            assert not CALL.search(block.text), f"a block of {name(page)} is to begin with ```sh:\n{block.text}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_that_are_mentioned_are_there(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    names = children_of(COMMAND)
    text = page.read_text(encoding="utf-8")
    for mentioned in re.findall(r"`eibench-ray ([a-z][a-z-]*)", text):
        assert mentioned in names, mentioned
    for mentioned in re.findall(r"(?:`|^)make ([a-z][a-z-]*)", text, re.MULTILINE):
        assert mentioned in targets, mentioned

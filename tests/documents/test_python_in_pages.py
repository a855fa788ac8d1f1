"""The Python of the how-tos runs as it stands, each page's blocks in order, over a store and an export as they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from page_blocks import PAGES, ROOT, read_blocks
from typer.testing import CliRunner

from eibench_ray.cli.app import app
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest

if TYPE_CHECKING:
    from conftest import Sweeps

# Each prints so many tables.
TABLES = {"docs/how-to/store.md": 3, "docs/how-to/scores.md": 1}
# The tests that run the Python of other pages; with a page's commands it runs where these do.
ELSEWHERE = {"docs/api.md": "tests/test_api.py", "docs/extend.md": "tests/outside"}


@pytest.fixture
def exported(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store, and what the two exports of its run write, below the working folder."""
    sweeps.write_dataset(emotions={1: "angry"})
    judge = sweeps.config().judge.model_dump() | {"verdict": "triggers"}
    sweep = sweeps.plan(sweeps.config(judge=judge))
    sweeps.ask(sweep)
    folder = sweeps.folder / "run"
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)
    monkeypatch.chdir(sweeps.folder)
    for command in (["export", "run"], ["export", "run", "--as", "eibench"]):
        assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize("page", TABLES)
def test_the_python_of_a_page_prints_its_tables(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in read_blocks(ROOT / page):
        if block.language == "python":
            exec(compile(block.text, page, "exec"), names)
    printed = capsys.readouterr().out
    assert printed.count("shape: (") == TABLES[page]
    assert "shape: (0," not in printed


def test_no_page_has_python_that_nothing_runs() -> None:
    for page in PAGES:
        blocks = read_blocks(page)
        has_script = any(block.language == "sh" and not block.is_marked for block in blocks)
        if any(block.language == "python" and block.title is None for block in blocks) and not has_script:
            assert page.relative_to(ROOT).as_posix() in TABLES | ELSEWHERE

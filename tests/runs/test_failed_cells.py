"""A run that ends with a cell without a figure has failed, says why, and says so again when nothing is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from read_back import read_status
from rich.console import Console
from rich.text import Text

from eibench_ray.cli.sweep_commands import exit_code_of
from eibench_ray.engines.engine import RowError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request
from eibench_ray.runs.failed_cells import describe_failed
from eibench_ray.runs.run_record import RUN_FILE
from eibench_ray.runs.run_summary import describe_counts
from eibench_ray.runs.run_sweep import run_sweep
from eibench_ray.runs.status_page import render_status

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

WHY = "all 10 answers are errors: prompt: System role not supported"


def refuse_system(request: Request) -> str:
    """As a template does that has no system role; the other model has none."""
    if request.system and request.json_schema is None:
        raise RowError(RowErrorKind.PROMPT, "System role not supported")
    return '{"explanation": "", "correct": 1, "total": 2}'


def test_it_is_in_the_leaderboard_the_status_and_the_summary(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    sweeps.write_dataset(triggers=("rain", "cold"))
    cells = [
        sweeps.config(model={"name": "gemma", "system": "You see."}),
        sweeps.config(model={"name": "llama", "system": None}),
    ]
    sweeps.ask(sweeps.plan(*cells), scripted(refuse_system))
    folder = tmp_path / "run"
    result = run_sweep(sweeps.plan(*cells), folder, Console(quiet=True))  # the store has every row: nothing is asked
    assert result.failed_cells == (f"1 cell failed (gemma/plain/faces/strict): {WHY}",)
    assert result.summary["cells_failed"] == 1
    assert result.summary["errors_by_kind"] == {"prompt": 10, "upstream": 10}
    assert "20 errors (10 prompt, 10 upstream)" in describe_counts(result.summary)
    assert [(row["model"], row["failed"], row["value"]) for row in result.summary["rows"]] == [
        ("llama", None, 0.5),
        ("gemma", WHY, None),
    ]
    assert WHY in (folder / "leaderboard.md").read_text(encoding="utf-8")
    assert json.loads((folder / RUN_FILE).read_text())["state"] == "failed"
    status = read_status(folder)
    assert (status["state"], status["failed_cells"]) == ("failed", {"gemma/plain/faces/strict": WHY})
    assert any(WHY in part.plain for part in render_status(status) if isinstance(part, Text))


def test_the_command_ends_with_one(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    sweeps.write_dataset(triggers=("rain", "cold"))
    cell = sweeps.config(model={"name": "gemma", "system": "You see."})
    sweeps.ask(sweeps.plan(cell), scripted(refuse_system))
    assert exit_code_of(run_sweep(sweeps.plan(cell), tmp_path / "failed", Console(quiet=True))) == 1
    good = sweeps.config(model={"name": "llama", "system": None})
    sweeps.ask(sweeps.plan(good), scripted(refuse_system))
    assert exit_code_of(run_sweep(sweeps.plan(good), tmp_path / "good", Console(quiet=True))) == 0


def test_cells_that_failed_of_one_reason_are_one_line() -> None:
    cells = {f"gemma/s{number}/faces/strict": WHY for number in range(4)}
    names = ", ".join(list(cells)[:3])
    assert list(describe_failed(cells)) == [f"4 cells failed ({names} and 1 more): {WHY}"]


def test_what_was_said_of_a_model_is_not_said_again_of_its_cells() -> None:
    cells = {"gemma/plain/faces/strict": "gemma failed: no key", "llama/plain/faces/strict": WHY}
    assert list(describe_failed(cells, {"gemma": "no key"})) == [
        "1 cell failed (gemma/plain/faces/strict): gemma failed, see above",
        f"1 cell failed (llama/plain/faces/strict): {WHY}",
    ]

"""A disk that fills up at the end of a run: the command says so and ends with 1, and the record says what happened."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from read_back import export_run, read_status
from rich.console import Console

from eibench_ray.errors import DiskFullError, PlanError, StoreError
from eibench_ray.runs import run_sweep as run_module
from eibench_ray.runs.find_run import find_run, list_runs
from eibench_ray.runs.run_sweep import run_sweep

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def fill(disk: Path) -> None:
    """Takes the last byte."""
    with contextlib.suppress(OSError), (disk / "ballast").open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


def empty(disk: Path) -> None:
    (disk / "ballast").unlink()


@pytest.fixture
def asked(sweeps: Sweeps, disk: Path) -> PlannedSweep:
    """A sweep on the disk of which only the scoring is left."""
    sweeps.write_dataset()
    config = sweeps.config(store={"root": str(disk / "store"), "slice_rows": 4})
    sweeps.ask(sweeps.plan(config))
    return sweeps.plan(config)


def run(sweep: PlannedSweep, folder: Path, at: Callable[[Path], object] = lambda _: None) -> Any:
    return run_sweep(sweep, folder, Console(quiet=True), at)


def test_a_disk_that_is_full_before_the_leaderboard_fails_the_run_and_says_why(asked: PlannedSweep, disk: Path) -> None:
    with pytest.raises(DiskFullError, match=r"leaderboard\.md cannot be written \(No space left on device\)") as full:
        run(asked, disk / "run", lambda _: fill(disk))
    assert (full.value.exit_code, "\n" in str(full.value)) == (1, False)
    record = json.loads((disk / "run/run.json").read_text())
    assert record["state"] == "failed"
    assert "leaderboard.md cannot be written" in record["error"]
    facts = read_status(disk / "run")
    assert (facts["state"], facts["requests_done"]) == ("failed", 20)
    assert "No space left on device" in facts["error"]
    assert [run.state for run in list_runs(asked.store)] == ["failed"]
    empty(disk)
    result = run(asked, disk / "again")
    assert result.summary["rows"][0]["scored"] == 10
    assert not list(disk.rglob(".*.tmp"))


def test_a_disk_that_is_full_after_the_leaderboard_is_told_too(
    asked: PlannedSweep, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = run_module.write_leaderboard

    def write_and_fill(*arguments: Any) -> list[Path]:
        paths = write(*arguments)
        fill(disk)
        return paths

    monkeypatch.setattr(run_module, "write_leaderboard", write_and_fill)
    with pytest.raises(DiskFullError, match=r"run\.json cannot be written \(No space left on device\)"):
        run(asked, disk / "run")
    facts = read_status(disk / "run")
    assert (facts["state"], "run.json cannot be written" in facts["error"]) == ("failed", True)
    assert (disk / "run/leaderboard.md").stat().st_size > 0


def test_a_record_that_only_the_store_cannot_take_is_told(asked: PlannedSweep, disk: Path, tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match=r"states/.*\.json cannot be written"):
        run(asked, tmp_path / "elsewhere", lambda _: fill(disk))
    assert read_status(tmp_path / "elsewhere")["state"] == "failed"
    assert (tmp_path / "elsewhere/leaderboard.md").exists()


def test_an_error_that_ended_the_run_is_shown_before_that_of_its_record(
    asked: PlannedSweep, disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Path) -> None:
        fill(disk)
        raise ZeroDivisionError("a fault of the program's")

    with pytest.raises(ZeroDivisionError):
        run(asked, disk / "run", fail)
    record = json.loads((disk / "run/run.json").read_text())
    assert (record["state"], record["error"]) == ("failed", "ZeroDivisionError: a fault of the program's")
    assert "the run's record is not complete: " in caplog.text


def test_a_disk_that_is_full_at_the_beginning_leaves_nothing(asked: PlannedSweep, disk: Path) -> None:
    fill(disk)
    with pytest.raises(DiskFullError, match="cannot be written"):
        run(asked, disk / "run")
    assert not (disk / "run").exists()
    assert list_runs(asked.store) == []


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt(), "interrupted"), (SystemExit(75), "preempted"), (SystemExit(3), "failed")]
)
def test_the_state_is_what_ended_the_run(asked: PlannedSweep, tmp_path: Path, error: BaseException, state: str) -> None:
    def leave(_: Path) -> None:
        raise error

    with pytest.raises(type(error)):
        run(asked, tmp_path / "run", leave)
    assert json.loads((tmp_path / "run/run.json").read_text())["state"] == state
    assert [run.state for run in list_runs(asked.store)] == [state]


def test_a_run_that_is_refused_when_it_has_begun_leaves_nothing(asked: PlannedSweep, tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        (folder / ".hydra").mkdir()
        raise PlanError("no")

    with pytest.raises(PlanError):
        run(asked, tmp_path / "multirun/day/time", refuse)
    assert not (tmp_path / "multirun").exists()
    assert list_runs(asked.store) == []


def test_an_export_onto_a_full_disk_leaves_the_earlier_one(asked: PlannedSweep, disk: Path, tmp_path: Path) -> None:
    result = run(asked, tmp_path / "run")
    export_run(tmp_path / "run", disk / "export")
    files = {path: path.read_bytes() for path in (disk / "export").rglob("*") if path.is_file()}
    fill(disk)
    with pytest.raises(StoreError, match="cannot be written") as full:
        export_run(find_run(result.summary["run_dir"]).folder, disk / "export")
    assert full.value.exit_code == 1
    assert {path: path.read_bytes() for path in (disk / "export").rglob("*") if path.is_file()} == files

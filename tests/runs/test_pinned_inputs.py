"""A run's figures are of what it asked: where that is not there any more, nothing of the run's is written over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from read_back import read_status

from eibench_ray.benchmarks.eibench.eibench_benchmark import BENCHMARK
from eibench_ray.cli.benchmark_commands import check_command
from eibench_ray.cli.compare import compare
from eibench_ray.cli.run_commands import export, report, rescore
from eibench_ray.errors import DataError
from eibench_ray.runs.pinned_inputs import count_rows, find_changes
from eibench_ray.runs.run_record import RunManifest, RunStatus, new_manifest, new_status, write_manifest, write_state
from eibench_ray.runs.status_page import render_status

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    """A sweep that was asked to its end."""
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    return sweep


@pytest.fixture
def run(sweep: PlannedSweep, tmp_path: Path) -> Path:
    """The folder of its run, with its leaderboard."""
    folder = tmp_path / "run"
    folder.mkdir()
    manifest, status = record(sweep, folder)
    write_manifest(manifest, sweep.store)
    write_state(status, sweep.store)
    status.write(folder)
    report([str(folder)])
    compare([str(folder)])
    return folder


def record(sweep: PlannedSweep, folder: Path) -> tuple[RunManifest, RunStatus]:
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    status = new_status(manifest, sweep.store)
    status.state, status.done = "finished", count_rows(sweep.plan, sweep.store)
    return manifest, status


def prepare_anew(sweeps: Sweeps) -> None:
    sweeps.write_dataset(questions={3: "and now?"})


def prepare_fewer(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(6))


def prepare_in_another_order(sweeps: Sweeps) -> None:
    sweeps.write_dataset([1, 0, *range(2, 10)])


def verify(run: str) -> None:
    check_command(BENCHMARK.checks["verify"])(run=run, as_json=False, store=None, out=None, anyway=False)


def remove_dataset(sweeps: Sweeps) -> None:
    shutil.rmtree(sweeps.folder / "faces")


def lose_a_slice(sweeps: Sweeps) -> None:
    next((sweeps.folder / "store/steps").glob("*/slice-000001.parquet")).unlink()


CHANGES: dict[Callable[[Any], None], str] = {
    prepare_anew: r"the dataset faces \(.*/faces\) has other samples than the run asked: it was prepared anew",
    prepare_fewer: r"the dataset faces \(.*/faces\) has 6 samples and had 10",
    prepare_in_another_order: r"has other samples than the run asked",
    remove_dataset: r"the dataset faces is not there any more \(.*cannot be opened",
    lose_a_slice: r"the store lacks [48] rows that the run had \(.*(answer|verdict) of echo",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_command_refuses_figures_that_are_not_the_runs_and_leaves_its_files(
    sweeps: Sweeps, run: Path, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    change(sweeps)
    for command in (
        lambda: report([str(run)]),
        lambda: compare([str(run)]),
        lambda: verify(str(run)),
        lambda: rescore(run),
        lambda: export(str(run), tmp_path / "export"),
    ):
        with pytest.raises(DataError, match=CHANGES[change]) as refused:
            command()
        assert "--anyway" in str(refused.value)
        assert "\n" not in str(refused.value)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert not (tmp_path / "export").exists()


def test_anyway_writes_beside_the_runs_own_files_and_says_what_differs(
    sweeps: Sweeps, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    prepare_anew(sweeps)
    report([str(run)], anyway=True, as_json=True)
    told = capsys.readouterr()
    answer = json.loads(told.out.splitlines()[-1])
    assert "Not as the run was: the dataset faces" in " ".join(told.err.split())
    assert len(answer["changes"]) == 1
    assert answer["rows"][0]["scored"] == 9
    assert {Path(path).parent for path in answer["files"]} == {run / "anyway"}
    compare([str(run)], anyway=True)
    assert (run / "anyway/compare.md").exists()
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_what_has_come_since_is_no_difference(sweeps: Sweeps, sweep: PlannedSweep, tmp_path: Path) -> None:
    limited = sweeps.plan(sweeps.config(limit=10))
    for planned in (limited, sweep):
        manifest, status = record(planned, tmp_path)
        sweeps.write_dataset(range(14))
        assert find_changes(manifest, status, planned.store) == []
        sweeps.write_dataset()


def test_a_run_of_an_earlier_version_is_held_against_the_rows_that_it_had(
    sweeps: Sweeps, sweep: PlannedSweep, tmp_path: Path
) -> None:
    manifest, status = record(sweep, tmp_path)
    manifest.pins.clear()  # type: ignore[attr-defined]
    prepare_anew(sweeps)
    (change,) = find_changes(manifest, status, sweep.store)
    assert change.startswith("the store lacks 2 rows that the run had")


def test_rows_that_were_asked_again_are_no_loss(sweep: PlannedSweep, tmp_path: Path) -> None:
    manifest, status = record(sweep, tmp_path)
    status.done = dict.fromkeys(status.done, 8)
    assert find_changes(manifest, status, sweep.store) == []


def test_report_names_another_folder_where_the_runs_is_gone(
    sweep: PlannedSweep, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = json.loads((run / "run.json").read_text())["id"]
    shutil.rmtree(run)
    report([run_id], store=sweep.store.root)
    assert "Nothing was written: the run's folder" in capsys.readouterr().err
    assert not run.exists()
    report([run_id], store=sweep.store.root, out=tmp_path / "again")
    assert (tmp_path / "again/leaderboard.md").exists()


def test_a_report_of_a_run_that_was_called_elsewhere_finds_its_relative_dataset(
    sweeps: Sweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps.write_dataset()
    monkeypatch.chdir(sweeps.folder)
    config = sweeps.config(dataset="faces")
    relative = config.model_copy(update={"dataset": config.dataset.model_copy(update={"path": "faces"})})
    manifest, _ = record(sweeps.plan(relative), tmp_path)
    assert manifest.plan.datasets["faces"].path == str(sweeps.folder / "faces")


@pytest.mark.parametrize("change", [prepare_anew, remove_dataset], ids=["anew", "gone"])
def test_status_says_what_differs_and_still_counts(sweeps: Sweeps, run: Path, change: Callable[[Any], None]) -> None:
    change(sweeps)
    facts = read_status(run)
    (told,) = facts["changes"]
    assert "the dataset faces" in told
    assert facts["requests"] == 20
    assert facts["requests_done"] == (18 if change is prepare_anew else 20)
    assert any("Not as the run was: the dataset faces" in str(part) for part in render_status(facts))


def test_a_run_without_a_ledger_has_no_picture_to_draw(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.svg").write_text("an earlier one")
    with pytest.raises(Exception, match=r"--gantt: run .* has no ledger of replicas"):
        report([str(run)], tmp_path / "run.svg")
    assert (tmp_path / "run.svg").read_text() == "an earlier one"

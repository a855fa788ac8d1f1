"""The runs of a store, and the one that is meant: by folder, by id, by nothing; where folders and stores have moved."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.errors import StoreError
from eibench_ray.runs.find_run import find_run, list_runs
from eibench_ray.runs.known_stores import known_stores, remember_store
from eibench_ray.runs.run_record import RUN_FILE, RunState, new_manifest, new_status, write_manifest, write_state

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No store is known but those of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    sweeps.write_dataset()
    return sweeps.plan(sweeps.config("plain"))


def record(sweep: PlannedSweep, folder: Path, run_id: str, state: RunState = "finished", *, age_s: float = 0) -> Path:
    """The folder of a run that ended a while ago."""
    folder.mkdir(parents=True)
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score, run_id=run_id)
    manifest = replace(manifest, started_at=time.time() - age_s)
    write_manifest(manifest, sweep.store)
    status = new_status(manifest, sweep.store)
    status.state = state
    status.done = dict.fromkeys(sweep.plan.steps, 7)
    status.write(folder)
    status.updated_at -= age_s
    write_state(status, sweep.store)
    (folder / RUN_FILE).write_bytes(status.dump())
    os.utime(folder / RUN_FILE, (status.updated_at, status.updated_at))
    return folder


def test_runs_are_listed_wherever_they_lie_the_latest_first(sweep: PlannedSweep, tmp_path: Path) -> None:
    record(sweep, tmp_path / "multirun/paper", "20260101-000000-aaaa", age_s=100)
    record(sweep, tmp_path / "elsewhere/deep/in/it", "20260102-000000-bbbb", "failed", age_s=50)
    gone = record(sweep, tmp_path / "gone", "20260103-000000-cccc", age_s=10)
    shutil.rmtree(gone)
    listed = list_runs(sweep.store)
    assert [run.id[-4:] for run in listed] == ["cccc", "bbbb", "aaaa"]
    assert [(run.state, run.has_folder) for run in listed] == [
        ("finished", False),
        ("failed", True),
        ("finished", True),
    ]
    assert {(run.sweep, run.rows, run.rows_done) for run in listed} == {("test", 20, 14)}
    assert listed[0].folder == str(gone)


@pytest.mark.parametrize("given", ["20260101-000000-aaaa", "20260101", "folder", "record"])
def test_a_run_is_found_by_its_folder_and_by_its_id(sweep: PlannedSweep, tmp_path: Path, given: str) -> None:
    folder = record(sweep, tmp_path / "run", "20260101-000000-aaaa")
    record(sweep, tmp_path / "other", "20260102-000000-bbbb")
    text = {"folder": str(folder), "record": str(folder / RUN_FILE)}.get(given, given)
    found = find_run(text, sweep.store.root)
    assert (found.manifest.id, found.folder, found.has_folder) == ("20260101-000000-aaaa", folder, True)


def test_an_id_that_is_not_one_is_told_with_what_there_is(sweep: PlannedSweep, tmp_path: Path) -> None:
    record(sweep, tmp_path / "run", "20260101-000000-aaaa")
    record(sweep, tmp_path / "other", "20260101-000000-bbbb")
    with pytest.raises(StoreError, match=r"2 runs begin with '20260101' \(.*aaaa, .*bbbb\): give more of the id"):
        find_run("20260101", sweep.store.root)
    with pytest.raises(StoreError, match=r"'1999' is neither the folder .* `eibench-ray runs` lists them"):
        find_run("1999", sweep.store.root)
    with pytest.raises(StoreError, match="is no run: give the folder"):
        find_run(str(tmp_path), sweep.store.root)


def test_of_an_id_that_begins_another_one_the_whole_one_is_meant(sweep: PlannedSweep, tmp_path: Path) -> None:
    record(sweep, tmp_path / "run", "20260101-000000-aaaa")
    record(sweep, tmp_path / "other", "20260101-000000-aaaa2")
    assert find_run("20260101-000000-aaaa", sweep.store.root).folder == tmp_path / "run"


def test_the_latest_run_is_the_one_of_this_folder_that_was_active_last_wherever_it_lies(
    sweep: PlannedSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record(sweep, tmp_path / "multirun/day/time", "20260102-000000-bbbb", age_s=50)
    record(sweep, tmp_path / "paper", "20260101-000000-aaaa", age_s=10)
    assert find_run(None, working=tmp_path).manifest.id == "20260101-000000-aaaa"
    monkeypatch.chdir("/")  # another user's, or of another folder
    record(sweep, tmp_path / "another", "20260103-000000-cccc")
    assert find_run(None, working=tmp_path).manifest.id == "20260101-000000-aaaa"
    assert find_run(None, sweep.store.root).manifest.id == "20260103-000000-cccc"


def test_the_latest_run_is_also_found_where_nothing_is_known_of_its_store(sweep: PlannedSweep, tmp_path: Path) -> None:
    record(sweep, tmp_path / "here/multirun/paper", "20260101-000000-aaaa", age_s=10)
    record(sweep, tmp_path / "here/outputs/day/time", "20260102-000000-bbbb", age_s=50)
    assert find_run(None, working=tmp_path / "here").manifest.id == "20260101-000000-aaaa"
    with pytest.raises(StoreError, match=r"there is no run below \./multirun or \./outputs, nor in \./store"):
        find_run(None, working=tmp_path / "nowhere")


def test_a_store_that_was_used_from_a_folder_is_known_there_first(
    sweep: PlannedSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, older = tmp_path / "here", tmp_path / "there", tmp_path / "older"
    for folder in (here, there, older):
        folder.mkdir()
    monkeypatch.chdir(here)
    record(sweep, tmp_path / "run", "20260101-000000-aaaa")
    remember_store(str(older), here)
    remember_store(str(tmp_path / "gone"), here)
    remember_store(sweep.store.root, here)
    remember_store("s3://bucket/others", there)
    assert known_stores(here) == ([sweep.store.root, str(older)], ["s3://bucket/others"])
    assert find_run("2026", working=here).manifest.id == "20260101-000000-aaaa"
    assert find_run(None, working=here).manifest.id == "20260101-000000-aaaa"
    shutil.rmtree(tmp_path / "state/eibench_ray/stores")
    assert known_stores(here) == ([], [])


def test_known_stores_are_read_at_once_as_one_that_is_gone_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        remember_store(str(tmp_path / name), tmp_path / "elsewhere")
    both = threading.Barrier(2, timeout=10)
    monkeypatch.setattr("eibench_ray.runs.find_run.run_ids", lambda _: [f"2026{both.wait()}"])
    with pytest.raises(StoreError, match="2 runs begin with '2026'"):
        find_run("2026", working=tmp_path)


def test_without_a_home_nothing_is_noted_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    remember_store("/data/store", tmp_path, {"XDG_STATE_HOME": str(tmp_path / "file")})
    assert known_stores(tmp_path, {"XDG_STATE_HOME": str(tmp_path / "file")}) == ([], [])


def test_a_moved_store_is_read_where_it_lies_now(sweep: PlannedSweep, tmp_path: Path) -> None:
    folder = record(sweep, tmp_path / "run", "20260101-000000-aaaa")
    moved = tmp_path / "moved"
    Path(sweep.store.paths.root).rename(moved)
    with pytest.raises(StoreError, match=r"nothing is known of the run in .*: where its store was moved, .*--store"):
        find_run(str(folder))
    for given in (str(folder), "20260101"):
        found = find_run(given, str(moved))
        assert (found.manifest.id, found.store.paths.root) == ("20260101-000000-aaaa", moved)


def test_a_run_whose_process_is_gone_was_killed_and_one_that_is_not_seen_goes_on(
    sweep: PlannedSweep, tmp_path: Path
) -> None:
    folder = record(sweep, tmp_path / "run", "20260101-000000-aaaa", "running", age_s=1200)
    status = json.loads((folder / RUN_FILE).read_text())
    for changes, state, is_silent in (
        ({}, "running", True),
        ({"started": status["started"] + 1}, "killed", False),
        ({"kernel": "another machine's", "started": 1}, "running", True),
        ({"updated_at": time.time()}, "running", False),
    ):
        (folder / RUN_FILE).write_text(json.dumps(status | changes))
        (run,) = list_runs(sweep.store)
        assert (run.state, run.silent_s is not None) == (state, is_silent)


def test_a_folder_that_another_run_has_now_is_not_the_first_ones(sweep: PlannedSweep, tmp_path: Path) -> None:
    folder = record(sweep, tmp_path / "run", "20260101-000000-aaaa", "failed")
    shutil.rmtree(folder)
    record(sweep, folder, "20260102-000000-bbbb")
    assert {run.id[-4:]: run.has_folder for run in list_runs(sweep.store)} == {"aaaa": False, "bbbb": True}
    assert find_run("20260101", sweep.store.root).status.state == "failed"


def test_a_record_that_cannot_be_read_is_told_in_its_line(sweep: PlannedSweep, tmp_path: Path) -> None:
    record(sweep, tmp_path / "run", "20260101-000000-aaaa")
    Path(sweep.store.paths.state("20260101-000000-aaaa")).write_text("{")
    Path(sweep.store.paths.run("20260102-000000-bbbb")).write_text("{")
    listed = {run.id[-4:]: run for run in list_runs(sweep.store)}
    assert "is not JSON" in listed["aaaa"].trouble
    assert (listed["bbbb"].state, "cannot be read" in listed["bbbb"].trouble) == ("unknown", True)

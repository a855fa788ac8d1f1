"""The record of a run: written, read back, found again, and refused where there is none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.errors import StoreError
from eibench_ray.runs.run_record import RUN_FILE, new_manifest, new_status, read_manifest_of, read_run, write_manifest

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep


def record(sweep: PlannedSweep, folder: Path) -> Path:
    """The folder of a run that has just begun."""
    folder.mkdir(parents=True)
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)
    return folder


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    sweeps.write_dataset()
    return sweeps.plan(sweeps.config("plain"), sweeps.config("noted", judge="official"))


@pytest.mark.parametrize("name", ["", RUN_FILE])
def test_a_run_is_read_back_as_it_was_written(sweep: PlannedSweep, tmp_path: Path, name: str) -> None:
    folder = record(sweep, tmp_path / "run")
    manifest, status, store = read_run(folder / name)
    assert manifest.plan == sweep.plan
    assert (manifest.store, manifest.score) == (sweep.config.store, sweep.config.score)
    assert (status.state, status.pid, status.id) == ("running", os.getpid(), manifest.id)
    assert store.paths.root == sweep.store.paths.root


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"nowhere is no run: give the folder that `eibench-ray run` named .*, or a run's id"
    ):
        read_run(tmp_path / "nowhere")


def test_a_run_of_another_version_is_told_apart_from_a_broken_one(sweep: PlannedSweep, tmp_path: Path) -> None:
    folder = record(sweep, tmp_path / "run")
    status = json.loads((folder / RUN_FILE).read_text())
    (folder / RUN_FILE).write_text(json.dumps(status | {"state": "resting"}))
    with pytest.raises(StoreError, match="is of another version"):
        read_run(folder)
    (folder / RUN_FILE).write_text("{")
    with pytest.raises(StoreError, match="is not JSON"):
        read_run(folder)


def test_a_run_whose_store_is_gone_is_named(sweep: PlannedSweep, tmp_path: Path) -> None:
    folder = record(sweep, tmp_path / "run")
    sweep.store.paths.root.rename(tmp_path / "moved")
    with pytest.raises(StoreError, match="cannot be read"):
        read_run(folder)


def test_a_key_of_another_version_is_passed_over(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    manifest = new_manifest(sweep.plan, sweeps.folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    path = Path(sweep.store.paths.run(manifest.id))
    value = json.loads(path.read_text())
    value["score"]["resamples"] = 2000
    path.write_text(json.dumps(value))
    assert read_manifest_of(manifest.id, sweep.store, "the run") == manifest

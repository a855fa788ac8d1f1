"""Speeds that runs have measured, kept in their store."""

from __future__ import annotations

from pathlib import Path

import pytest

from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.schedule.measured_engine import MeasuredEngine, MeasuredRun, MeasuredStep
from eibench_ray.store.slice_store import Store
from eibench_ray.store.speed_records import MOST_RECORDS, read_run_speeds, read_speeds, write_speeds


def measured(run: str) -> MeasuredEngine:
    step = MeasuredStep("answer", 64, 120.5, AskedWork(10, 1200, 300, 10, 4.5, 9.0))
    return MeasuredEngine(run, 1000.0, "1 core of some", 0, 31.5, {"abc": step})


def test_the_latest_runs_are_read_the_last_one_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert read_speeds(store, ["engine"]) == {}
    assert read_run_speeds(store) == []
    runs = [f"20261130-10000{number}-ab" for number in range(5)]
    for run in runs:
        write_speeds(store, {"engine": measured(run)}, MeasuredRun(run, 1000.0, 8.0, 5.0))
    found = read_speeds(Store(tmp_path / "store"), ["engine", "other"])
    assert found == {"engine": [measured(run) for run in runs[: -1 - MOST_RECORDS : -1]]}
    assert [one.run for one in read_run_speeds(store)] == runs[: -1 - MOST_RECORDS : -1]


def test_a_record_that_cannot_be_read_is_told_and_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "store")
    write_speeds(store, {"engine": measured("1")}, None)
    (tmp_path / "store" / "speeds" / "engine" / "2.json").write_text("{")
    (tmp_path / "store" / "speeds" / "engine" / "3.json").write_text('{"run": 3}')
    assert [one.run for one in read_speeds(store, ["engine"])["engine"]] == ["1"]
    assert len(caplog.records) == 2

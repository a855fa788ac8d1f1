"""A run that is watched from another process: when it has ended, whatever ends it, and what SLURM says meanwhile."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.driver.run_events import EngineProgress
from eibench_ray.runs import run_watch
from eibench_ray.runs.find_run import find_run
from eibench_ray.runs.run_record import RunStatus, new_manifest, new_status, write_manifest, write_state
from eibench_ray.runs.run_view import CellPhase
from eibench_ray.runs.run_watch import ASK_QUEUE_EVERY_S, QUIET_S, RunWatch
from eibench_ray.submit.sbatch import Queued
from eibench_ray.submit.submission import RECORD_FILE

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep

PENDING = Queued("12", "PENDING", "Resources", "N/A", "N/A", "")
RUNNING = Queued("12", "RUNNING", "None", "N/A", "50:00", "n1")


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    sweeps.write_dataset()
    return sweeps.plan(sweeps.config("plain"), sweeps.config("brief"))


def begin(sweep: PlannedSweep, folder: Path) -> RunStatus:
    """The record of a run that begins in this process, which lives."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    status = new_status(manifest, sweep.store)
    write_state(status, sweep.store)
    status.write(folder)
    return status


class Slurm:
    """A queue that says what a test wants, and counts who asks."""

    def __init__(self) -> None:
        self.queued: list[Queued] | None = [PENDING]
        self.asked = 0

    def ask(self, job: str) -> list[Queued] | None:
        assert job == "12"
        self.asked += 1
        return self.queued


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    queue = Slurm()
    monkeypatch.setattr(run_watch, "ask_queue", queue.ask)
    return queue


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_run_is_seen_to_go_on_and_to_end(sweep: PlannedSweep, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    status = begin(sweep, folder)
    watch = RunWatch(find_run(str(folder)))
    assert not watch.has_ended
    assert (view := watch.view()) is not None
    assert {cell.state for cell in view.cells} == {CellPhase.WAITING}
    answer = sweep.plan.cells[0].answer
    status.done, status.asking = {answer: 4}, {answer: 4}
    status.engines = {sweep.plan.steps[answer].engine: EngineProgress(generating=1, tokens_per_s=5.0)}
    status.write(folder)
    watch.look()
    assert (view := watch.view()) is not None
    assert [(cell.state, cell.done, cell.asking, cell.rows) for cell in view.cells] == [
        (CellPhase.GENERATING, 4, 4, 20),
        (CellPhase.WAITING, 0, 0, 20),
    ]
    assert (view.done, view.rows, view.tokens_per_s) == (4, 40, 5.0)
    status.state = "failed"
    status.write(folder)
    watch.look()
    assert watch.has_ended
    assert watch.state == "failed"


def test_a_run_whose_process_is_gone_has_ended(sweep: PlannedSweep, tmp_path: Path) -> None:
    status = begin(sweep, tmp_path / "run")
    status.pid = int(Path("/proc/sys/kernel/pid_max").read_text()) - 1
    status.write(tmp_path / "run")
    assert not Path(f"/proc/{status.pid}").exists()
    watch = RunWatch(find_run(str(tmp_path / "run")))
    assert (watch.state, watch.has_ended) == ("killed", True)


def test_a_record_that_cannot_be_read_now_is_taken_as_it_was_and_its_age_is_said(
    sweep: PlannedSweep, tmp_path: Path
) -> None:
    status = begin(sweep, tmp_path / "run")
    clock = Clock(status.updated_at)
    watch = RunWatch(find_run(str(tmp_path / "run")), clock=clock)
    (tmp_path / "run" / "run.json").write_text("{")
    clock.now += QUIET_S + 2.0
    watch.look()
    assert not watch.has_ended
    assert (view := watch.view()) is not None
    assert view.silent_s == pytest.approx(QUIET_S + 2.0, abs=0.1)


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    folder = tmp_path / "multirun" / "slurm-1"
    folder.mkdir(parents=True)
    (folder / RECORD_FILE).write_text(json.dumps({"sweep": "test", "jobs": ["12"], "command": []}))
    return folder


def test_a_submission_is_watched_from_the_queue_over_its_runs_to_its_end(
    sweep: PlannedSweep, submission: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(1e9)
    watch = RunWatch(None, submission, ["12"], clock)
    assert watch.view() is None
    assert watch.queue == ["SLURM job 12: pending (Resources)"]
    assert not watch.has_ended
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    (submission / "run-1").mkdir()
    (submission / "run-1" / "run.json").write_text("{}")
    watch.look()
    assert watch.view() is None, "it has no plan in the store yet"
    first = begin(sweep, submission / "run-1")
    clock.now = watch._asked_at = first.updated_at
    watch.look()
    assert watch.state == "running", "though the queue knew it as pending when it was last asked"
    slurm.queued = [RUNNING]
    clock.now += ASK_QUEUE_EVERY_S
    watch.look()
    assert (view := watch.view()) is not None
    assert view.waits == ("SLURM job 12: running on n1, 50:00 left",)
    first.state = "preempted"  # SLURM begins the job again
    first.write(submission / "run-1")
    watch.look()
    assert not watch.has_ended
    second = begin(sweep, submission / "run-2")
    os.utime(submission / "run-2" / "run.json", (first.updated_at + 5, first.updated_at + 5))
    watch.look()
    assert watch.found is not None
    assert watch.found.status.id == second.id
    second.state = "finished"
    second.write(submission / "run-2")
    os.utime(submission / "run-2" / "run.json", (first.updated_at + 9, first.updated_at + 9))
    watch.look()
    assert not watch.has_ended, "its job may begin another run"
    slurm.queued = []
    clock.now += ASK_QUEUE_EVERY_S
    watch.look()
    assert watch.has_ended


@pytest.mark.parametrize(("queued", "has_ended"), [([], True), (None, False), ([PENDING], False)])
def test_jobs_that_left_the_queue_without_a_run_have_ended(
    submission: Path, slurm: Slurm, queued: list[Queued] | None, has_ended: bool
) -> None:
    slurm.queued = queued
    assert RunWatch(None, submission, ["12"]).has_ended is has_ended


def test_the_queue_is_asked_seldom_and_of_a_quiet_run_alone(
    sweep: PlannedSweep, tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    status = begin(sweep, tmp_path / "run")
    clock = Clock(status.updated_at)
    slurm.queued = [RUNNING]
    watch = RunWatch(find_run(str(tmp_path / "run")), clock=clock)
    assert slurm.asked == 0
    for _ in range(40):
        clock.now += 1.0
        watch.look()
    assert 1 <= slurm.asked <= 3
    assert watch.state == "running"
    slurm.queued = []
    clock.now += ASK_QUEUE_EVERY_S
    watch.look()
    assert (watch.state, watch.has_ended) == ("killed", True)

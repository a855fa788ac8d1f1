"""Figures of a sweep that a tracker is told: all that its place does not have, and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from read_back import send_run
from recording_tracker import OFFLINE, ONLINE, RecordingTracker
from typer.testing import CliRunner

from eibench_ray.cli.app import app
from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.errors import ConfigError
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import new_manifest, new_status, read_run, write_manifest
from eibench_ray.runs.send_run import read_options
from eibench_ray.runs.tracked_cells import CellTracking
from eibench_ray.storage.local import LOCAL
from eibench_ray.tracking.tracker import Target, Tracker
from eibench_ray.tracking.tracking_queue import NoTracker

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep

NAME = "echo/plain/faces/strict"
TOLD = "echo (made up)/plain/faces/strict (made up)"  # as every table marks it
WANDB = TrackingConfig.model_validate({"name": "wandb", "kind": "wandb"})


@pytest.fixture
def asked(sweeps: Sweeps) -> PlannedSweep:
    """A sweep of one cell, whole."""
    sweeps.write_dataset(range(3))
    sweep = sweeps.plan(sweeps.config())
    sweeps.ask(sweep)
    return sweep


def tell(sweep: PlannedSweep, tracker: RecordingTracker | NoTracker, **changes: Any) -> list[str]:
    """The names of the cells that a tracker is told in a run of the sweep."""
    config = WANDB.model_copy(update=changes)
    tracking = CellTracking(sweep.plan, sweep.store, config, tracker)
    results = Results(sweep.plan, sweep.store)
    for cell in sweep.plan.cells:
        tracking.tell(cell, results.score(cell, sweep.config.score))
    return [cell.name for cell, *_ in tracker.told] if isinstance(tracker, RecordingTracker) else []


def test_what_was_sent_is_not_sent_again(asked: PlannedSweep) -> None:
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]
    assert tell(asked, RecordingTracker(ONLINE)) == []
    assert tell(asked, RecordingTracker(OFFLINE)) == []


def test_what_a_tracker_lost_is_told_by_the_next_run(asked: PlannedSweep) -> None:
    assert tell(asked, RecordingTracker(ONLINE, undelivered=[TOLD])) == [TOLD]
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]


@pytest.mark.parametrize("first", [NoTracker(), NoTracker("WANDB_MODE is disabled")], ids=["none", "disabled"])
def test_what_no_tracker_took_is_told_by_the_next_run(asked: PlannedSweep, first: NoTracker) -> None:
    tell(asked, first)
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]


def test_disabled_tracking_names_the_cells_and_none_does_not(asked: PlannedSweep) -> None:
    disabled, none = NoTracker("WANDB_MODE is disabled"), NoTracker()
    tell(asked, disabled)
    tell(asked, none)
    assert disabled.close(1, print).missing == {TOLD: "WANDB_MODE is disabled"}
    assert none.close(1, print).describe(Path("run")) is None


def test_what_is_offline_stays_so_while_its_folder_is_there_and_is_sent_online(
    asked: PlannedSweep, tmp_path: Path
) -> None:
    folder = tmp_path / "offline-run-1"
    folder.mkdir()
    assert tell(asked, RecordingTracker(OFFLINE, folder)) == [TOLD]
    assert tell(asked, RecordingTracker(OFFLINE, folder)) == []
    folder.rmdir()
    assert tell(asked, RecordingTracker(OFFLINE, folder)) == [TOLD]
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]


def test_what_wandb_sync_has_sent_is_not_sent_again(asked: PlannedSweep, tmp_path: Path) -> None:
    folder = tmp_path / "offline-run-1"
    folder.mkdir()
    assert tell(asked, RecordingTracker(OFFLINE, folder)) == [TOLD]
    (folder / "run-abc.wandb.synced").touch()
    assert tell(asked, RecordingTracker(ONLINE)) == []


@pytest.mark.parametrize(
    "other",
    [
        Target("online", ONLINE.server, "another"),
        Target("online", "https://wandb.example.org", ONLINE.project),
    ],
    ids=["project", "server"],
)
def test_another_place_is_told_too_and_each_remembers(asked: PlannedSweep, other: Target) -> None:
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]
    assert tell(asked, RecordingTracker(other)) == [TOLD]
    assert tell(asked, RecordingTracker(ONLINE)) == []
    assert tell(asked, RecordingTracker(other)) == []


def test_changed_figures_and_another_table_are_told(asked: PlannedSweep) -> None:
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]
    assert tell(asked, RecordingTracker(ONLINE), num_samples=1) == [TOLD]


def test_mark_of_an_earlier_version_does_not_count(asked: PlannedSweep) -> None:
    [cell] = asked.plan.cells
    LOCAL.write_json(asked.store.paths.tracked(cell.key), {"fingerprint": "1234"})
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]


def test_mark_says_where(asked: PlannedSweep) -> None:
    tell(asked, RecordingTracker(ONLINE))
    [cell] = asked.plan.cells
    [mark] = asked.store.storage.read_json(asked.store.paths.tracked(cell.key))["deliveries"]
    assert (mark["mode"], mark["server"], mark["project"], mark["run_id"]) == (
        "online",
        ONLINE.server,
        "eibench",
        cell.key[:32],
    )
    assert mark["url"].startswith("https://wandb.ai/")


def test_cell_that_is_not_whole_is_not_told(sweeps: Sweeps, asked: PlannedSweep) -> None:
    sweeps.write_dataset(range(4))
    assert tell(sweeps.plan(sweeps.config()), RecordingTracker(ONLINE)) == []
    assert asked.is_complete is False


def record(sweep: PlannedSweep, folder: Path, tracking: TrackingConfig | None) -> Path:
    folder.mkdir()
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score, sweep.config.retry, tracking)
    write_manifest(manifest, sweep.store)
    status = new_status(manifest, sweep.store)
    status.state = "finished"
    status.write(folder)
    return folder


@pytest.fixture
def run(asked: PlannedSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    return record(asked, tmp_path / "run", WANDB)


def test_track_sends_what_is_not_there_and_then_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackers: list[RecordingTracker] = []

    def open_recording(tracker: Tracker | None, *_: Any) -> RecordingTracker | NoTracker:
        if tracker is None:
            return NoTracker()
        assert tracker.target({"WANDB_MODE": "offline"}).mode == "online"
        trackers.append(RecordingTracker(ONLINE))
        return trackers[-1]

    monkeypatch.setattr("eibench_ray.runs.send_run.open_tracker", open_recording)
    dry = CliRunner().invoke(app, ["track", str(run), "--dry-run"])
    assert dry.exit_code == 0
    assert f"{NAME}: never sent" in dry.stdout
    assert trackers == []
    done = json.loads(CliRunner().invoke(app, ["track", str(run), "--json"]).stdout)
    assert (list(done["report"]["sent"]), done["reasons"]) == ([TOLD], {NAME: "never sent"})
    [(cell, _, samples)] = trackers[0].told
    assert (cell.name, len(samples)) == (TOLD, 3)
    again = send_run(run, {}, is_dry=False, say=print)
    assert (again.num_there, again.reasons, trackers[1].told) == (1, {}, [])


def test_track_fails_with_the_reason_where_something_was_not_sent(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "eibench_ray.runs.send_run.open_tracker", lambda *_: RecordingTracker(ONLINE, undelivered=[TOLD])
    )
    result = CliRunner().invoke(app, ["track", str(run)])
    assert result.exit_code == 1
    assert "a test's reason" in result.output


def test_track_without_a_key_says_which_variable(run: Path) -> None:
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        send_run(run, {}, is_dry=False, say=print)


def test_track_of_a_run_without_tracking_asks_for_the_project(asked: PlannedSweep, tmp_path: Path) -> None:
    for number, tracking in enumerate([None, asked.config.tracking.model_copy(update={"kind": "none"})]):
        folder = record(asked, tmp_path / f"run{number}", tracking)
        with pytest.raises(ConfigError, match="--set kind=NAME"):
            send_run(folder, {}, is_dry=True, say=print)
        assert list(send_run(folder, {"kind": "wandb", "project": "mine"}, is_dry=True, say=print).reasons) == [NAME]


def test_options_on_the_command_line_say_where_to(run: Path) -> None:
    place = json.loads(
        CliRunner().invoke(app, ["track", str(run), "--dry-run", "--json", "--set", "entity=team"]).stdout
    )["place"]
    assert place == "https://api.wandb.ai, project team/eibench"
    with pytest.raises(ConfigError, match=r"projekt: there is no such key; did you mean 'project'"):
        send_run(run, read_options(["projekt=mine"]), is_dry=True, say=print)
    with pytest.raises(ConfigError, match="--set project: write KEY=VALUE"):
        read_options(["project"])


def test_a_run_is_read_where_its_tracker_is_gone(asked: PlannedSweep, tmp_path: Path) -> None:
    gone = WANDB.model_copy(update={"kind": "gone"})
    folder = record(asked, tmp_path / "run", gone)
    assert read_run(folder)[0].tracking == gone.model_dump(mode="json")
    with pytest.raises(ConfigError, match="there is no tracker 'gone'; there are wandb"):
        send_run(folder, {}, is_dry=True, say=print)

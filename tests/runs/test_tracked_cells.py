"""Figures of a sweep that a tracker is told: all that its place does not have, and nothing twice."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from read_back import send_run
from recording_tracker import OFFLINE, ONLINE, RecordingTracker
from typer.testing import CliRunner

from eibench_ray.cli.app import app
from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.errors import ConfigError
from eibench_ray.runs.find_run import find_run
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest
from eibench_ray.runs.send_run import read_options, send
from eibench_ray.runs.tracked_cells import SweepTracking, describe_upload
from eibench_ray.runs.tracked_facts import cell_facts
from eibench_ray.storage.local import LOCAL
from eibench_ray.tracking.open_tracker import NoTracker
from eibench_ray.tracking.tracker import Final, RunFacts, Target, Tracker
from eibench_ray.tracking.tracker_registry import find_trackers

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep

NAME = "echo/plain/faces/strict"
TOLD = "echo (made up)/plain/faces/strict@JUDGE (made up)"  # as every table marks it, with the judge's version
VERSION = re.compile(r"@[0-9a-f]{4}\b")
WANDB = TrackingConfig.model_validate({"wandb": {}})


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
    manifest = new_manifest(sweep.plan, Path(sweep.store.root), sweep.config.store, sweep.config.score)
    tracking = SweepTracking(manifest, sweep.store, config, find_trackers(config), {"wandb": tracker})
    results = Results(sweep.plan, sweep.store)
    rows = [results.score(cell, sweep.config.score) for cell in sweep.plan.cells]
    for cell, row in zip(sweep.plan.cells, rows, strict=True):
        tracking.tell(cell, row)
    tracking.tell_sweep(rows, Path(sweep.store.root).parent)
    return names_of(tracker.told) if isinstance(tracker, RecordingTracker) else []


def names_of(told: list[tuple[RunFacts, Final]]) -> list[str]:
    return [VERSION.sub("@JUDGE", facts.name) for facts, _ in told]


def test_what_was_sent_is_not_sent_again(asked: PlannedSweep) -> None:
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]
    assert tell(asked, RecordingTracker(ONLINE)) == []
    assert tell(asked, RecordingTracker(OFFLINE)) == []


def test_what_a_tracker_lost_is_told_by_the_next_run(asked: PlannedSweep) -> None:
    assert tell(asked, RecordingTracker(ONLINE, undelivered=["echo"])) == [TOLD]
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]


@pytest.mark.parametrize("first", [NoTracker(), NoTracker("WANDB_MODE is disabled")], ids=["none", "disabled"])
def test_what_no_tracker_took_is_told_by_the_next_run(asked: PlannedSweep, first: NoTracker) -> None:
    tell(asked, first)
    assert tell(asked, RecordingTracker(ONLINE)) == [TOLD]


def test_disabled_tracking_names_the_cells_and_none_does_not(asked: PlannedSweep) -> None:
    disabled, none = NoTracker("WANDB_MODE is disabled"), NoTracker()
    tell(asked, disabled)
    tell(asked, none)
    missing = disabled.close(1, print).missing
    assert {VERSION.sub("@JUDGE", name) for name in missing} == {TOLD, "sweep test"}
    assert set(missing.values()) == {"WANDB_MODE is disabled"}
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
    assert tell(asked, RecordingTracker(ONLINE), samples=1) == [TOLD]


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

    def open_recording(tracker: Tracker, *_: Any) -> RecordingTracker:
        assert tracker.target({"WANDB_MODE": "offline"}).mode == "online"
        trackers.append(RecordingTracker(ONLINE))
        return trackers[-1]

    monkeypatch.setattr("eibench_ray.runs.send_run.open_tracker", open_recording)
    dry = CliRunner().invoke(app, ["track", str(run), "--dry-run"])
    assert dry.exit_code == 0
    assert f"{NAME}: never sent" in dry.stdout
    assert trackers == []
    done = json.loads(CliRunner().invoke(app, ["track", str(run), "--json"]).stdout)
    to_wandb = done["trackers"]["wandb"]
    assert [VERSION.sub("@JUDGE", name) for name in to_wandb["report"]["sent"]] == [TOLD, "sweep test"]
    assert to_wandb["reasons"] == {NAME: "never sent"}
    [(_, final)] = trackers[0].told
    assert (names_of(trackers[0].told), len(final.tables["samples"].rows)) == ([TOLD], 3)
    again = send_run(run, {}, is_dry=False, say=print).trackers["wandb"]
    assert (again.num_there, again.reasons, trackers[1].told, trackers[1].sweeps) == (1, {}, [], [])


def test_track_fails_with_the_reason_where_something_was_not_sent(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "eibench_ray.runs.send_run.open_tracker", lambda *_: RecordingTracker(ONLINE, undelivered=["echo"])
    )
    result = CliRunner().invoke(app, ["track", str(run)])
    assert result.exit_code == 1
    assert "a test's reason" in result.output


def test_track_without_a_key_says_which_variable(run: Path) -> None:
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        send_run(run, {}, is_dry=False, say=print)


def test_track_of_a_run_without_tracking_asks_for_the_project(asked: PlannedSweep, tmp_path: Path) -> None:
    for number, tracking in enumerate([None, TrackingConfig(), TrackingConfig(enabled=False)]):
        folder = record(asked, tmp_path / f"run{number}", tracking)
        with pytest.raises(ConfigError, match=r"--set NAME.OPTION=VALUE"):
            send_run(folder, {}, is_dry=True, say=print)
        sending = send_run(folder, {"wandb": {"project": "mine"}}, is_dry=True, say=print)
        assert list(sending.trackers["wandb"].reasons) == [NAME]


@pytest.mark.parametrize(
    ("known", "place"),
    [
        ({"name": "wandb", "kind": "wandb", "project": "old", "num_samples": 3}, "https://api.wandb.ai, project old"),
        ({"name": "none", "kind": "none", "num_samples": 3}, None),
    ],
)
def test_a_record_of_an_earlier_version_says_where_it_is_tracked(
    asked: PlannedSweep, tmp_path: Path, known: dict[str, Any], place: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    folder = record(asked, tmp_path / "run", None)
    found = find_run(str(folder))
    earlier = replace(found, manifest=replace(found.manifest, tracking=known))
    if place is None:
        with pytest.raises(ConfigError, match=r"--set NAME.OPTION=VALUE"):
            send(earlier, {}, is_dry=True, say=print)
    else:
        assert send(earlier, {}, is_dry=True, say=print).trackers["wandb"].place == place


def test_options_on_the_command_line_say_where_to(run: Path) -> None:
    options = ["--dry-run", "--json", "--set", "wandb.entity=team"]
    done = json.loads(CliRunner().invoke(app, ["track", str(run), *options]).stdout)
    assert done["trackers"]["wandb"]["place"] == "https://api.wandb.ai, project team/eibench"
    with pytest.raises(ConfigError, match=r"projekt: there is no such key; did you mean 'wandb.project'"):
        send_run(run, read_options(["wandb.projekt=mine"]), is_dry=True, say=print)
    with pytest.raises(ConfigError, match="--set project: write KEY=VALUE"):
        read_options(["project"])


def test_a_run_is_read_where_its_tracker_is_gone(asked: PlannedSweep, tmp_path: Path) -> None:
    folder = record(asked, tmp_path / "run", None)
    found = find_run(str(folder))
    gone = replace(found, manifest=replace(found.manifest, tracking={"gone": {"path": "x"}}))
    with pytest.raises(ConfigError, match="there is no tracker 'gone'; there are "):
        send(gone, {}, is_dry=True, say=print)


def test_what_goes_out_is_said_before_it_does() -> None:
    kinds, trackers = find_trackers(WANDB), {"wandb": RecordingTracker(ONLINE)}
    (line,) = describe_upload(WANDB, kinds, trackers)
    assert line.startswith("tracking: W&B (https://api.wandb.ai, project eibench, online) gets ")
    for words in ("24 samples", "tracking.samples", "without pictures (tracking.pictures)", "not the run's page"):
        assert words in line
    (line,) = describe_upload(WANDB.model_copy(update={"samples": 0, "page": True}), kinds, trackers)
    assert "no samples" in line
    assert "; the run's page (tracking.page)" in line


def test_the_sweep_has_the_leaderboard_the_comparison_and_the_address_of_its_data(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(3))
    both = sweeps.plan(sweeps.config(), sweeps.config(judge="exact"))
    sweeps.ask(both)
    tracker = RecordingTracker(ONLINE)
    tell(both, tracker)
    [(facts, final)] = tracker.sweeps
    assert (facts.name, facts.job, {cell.parent for cell, _ in tracker.told}) == ("sweep test", "sweep", {facts.key})
    assert {"echo", "plain", "faces", "strict", "exact"} == set(facts.tags)
    board = final.tables["leaderboard"]
    rows = [dict(zip(board.columns, row, strict=True)) for row in board.rows]
    assert [row["judge"] for row in rows] == ["exact", "strict"]
    assert all(row[name] is not None for row in rows for name in ("value", "ci_low", "bound_ci_low", "coverage"))
    assert final.tables["compare_judges"].rows
    assert set(final.addresses.values()) == {
        (Path(both.store.root) / "steps" / step).absolute().as_uri() for step in both.plan.steps
    }
    assert final.files == ()


def test_the_page_goes_along_where_it_is_asked_for(asked: PlannedSweep) -> None:
    page = Path(asked.store.root).parent / "report.html"
    page.write_text("<p>page</p>")
    tracker = RecordingTracker(ONLINE)
    tell(asked, tracker)
    tell(asked, tracker, page=True)
    assert [final.files for _, final in tracker.sweeps] == [(), (page,)]


def test_pictures_go_out_only_where_it_is_asked_for(asked: PlannedSweep) -> None:
    tracker = RecordingTracker(ONLINE)
    tell(asked, tracker)
    tell(asked, tracker, pictures=True)
    (_, without), (_, with_them) = tracker.told
    assert "image" not in without.tables["samples"].columns
    assert all(isinstance(row[-1], bytes) for row in with_them.tables["samples"].rows)


def test_a_cell_has_its_widened_bounds(asked: PlannedSweep) -> None:
    tracker = RecordingTracker(ONLINE)
    tell(asked, tracker)
    [(_, final)] = tracker.told
    names = ("ci_low", "ci_high", "bound_low", "bound_high", "bound_ci_low", "bound_ci_high", "coverage")
    assert [name for name in names if name not in final.scores] == []


def test_names_tell_versions_of_a_judge_apart_but_not_models(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(3))
    judge = sweeps.config().judge
    other = judge.model_copy(update={"prompt": f"{judge.prompt} Count well."})
    configs = [
        sweeps.config(),
        sweeps.config(model={"name": "second"}),
        sweeps.config().model_copy(update={"judge": other, "sweep": "other"}),
    ]
    plans = [sweeps.plan(config).plan for config in configs]
    first, second, third = (cell_facts(plan, plan.cells[0]).name for plan in plans)
    assert VERSION.search(first)[0] == VERSION.search(second)[0] != VERSION.search(third)[0]  # type: ignore[index]

"""Tracking, with the real W&B: offline, and against a server that refuses."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from PIL import Image

from eibench_ray.errors import ConfigError
from eibench_ray.tracking.open_tracker import NoTracker, OpenTracker
from eibench_ray.tracking.tracker import Delivery, Final, Progress, RunFacts, TrackedTable
from eibench_ray.tracking.tracker_registry import open_tracker
from eibench_ray.tracking.tracking_report import TrackingReport
from eibench_ray.tracking.wandb.wandb_tracker import WandbTracker

SECRET = "planted" + "0123456789" * 4  # as long as a real key
CONFIG = WandbTracker(project="affect", mode="offline")
AUTO = replace(CONFIG, mode="auto")
SCORES = {"recall": 0.5, "ci_low": 0.4, "ci_high": 0.6, "coverage": 1.0, "n": 24, "recall/Angry": 0.25}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home folder of its own, no variable of W&B's, and W&B's service ended."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    yield
    import wandb  # half a second of each process that collects the tests

    wandb.teardown()


def make_cell(number: int) -> RunFacts:
    key = hashlib.sha256(str(number).encode()).hexdigest()
    config = {"model": {"name": "tiny", "seed": number}}
    return RunFacts(key, "night", f"tiny/plain/demo/judge{number}", config, 24, "ab", ("tiny", "demo"))


def make_samples(*pictures: tuple[bytes, ...]) -> TrackedTable:
    rows = [
        (f"s{number}", f"answer {number}", None, number / 24, *shown, *[None] * (2 - len(shown)))
        for number, shown in enumerate(pictures)
    ]
    return TrackedTable(("sample_id", "answer", "judge_reply", "score", "image", "image 2"), rows)


def make_picture(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 60).save(buffer, "PNG")
    return buffer.getvalue()


def read_records(run_folder: Path) -> list[Any]:
    """The records of a run's log: LevelDB's format, after seven bytes of W&B's own in the first block of 32 KiB."""
    from wandb.proto import wandb_internal_pb2 as pb

    (path,) = run_folder.glob("run-*.wandb")
    data = path.read_bytes()
    records, part, offset = [], b"", 7
    while offset + 7 <= len(data):
        if 32768 - offset % 32768 < 7:
            offset += 32768 - offset % 32768
            continue
        length = int.from_bytes(data[offset + 4 : offset + 6], "little")
        kind = data[offset + 6]  # 1 whole, 2 first, 3 middle, 4 last
        part += data[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):
            records.append(pb.Record.FromString(part))
            part = b""
    return records


def items(records: list[Any], kind: str) -> list[dict[str, Any]]:
    """Values that the records of one kind set, by key, or by nested key joined with a dot."""
    found = [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]
    updates = [getattr(entry, "item", None) or entry.update for entry in found]
    return [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in update} for update in updates
    ]


def run_folders(folder: Path, pattern: str = "offline-run-*") -> list[Path]:
    return sorted((folder / "wandb").glob(pattern))


def ignore(delivery: Delivery) -> None:
    """Nobody is told."""


def close(tracker: OpenTracker) -> TrackingReport:
    return tracker.close(60.0, lambda _: None)


def find_bytes(folder: Path, needle: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_offline_run_holds_config_history_summary_and_samples(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cell = make_cell(1)
    tracker = open_tracker(CONFIG, tmp_path, {})
    for rows_done in range(0, 25, 4):
        tracker.progress(cell, Progress(rows_done, 24, {"tokens": 10 * rows_done, "tokens_per_s": 2.5}))
    pictures = [(), (b"no picture",), (make_picture(1024, 256),), (make_picture(64, 64), make_picture(8, 16))]
    tracker.finish(cell, Final(SCORES, {"samples": make_samples(*pictures)}), ignore)
    report = close(tracker)

    (run_folder,) = run_folders(tmp_path)
    assert report.offline == {cell.name: str(run_folder)}
    assert not (tmp_path / "wandb" / "cache").exists()
    records = read_records(run_folder)
    run = next(record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.run_id, run.run_group) == (cell.key[:32], "night")
    assert (run.display_name, run.project) == ("tiny/plain/demo/judge1", "affect")
    assert (run.job_type, list(run.tags)) == ("cell", ["tiny", "demo"])
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["model"] == {"name": "tiny", "seed": 1}

    history = [row for row in items(records, "history") if "tokens" in row]
    steps = [row["rows_done"] for row in history]
    assert steps == sorted(set(steps))
    assert {name: history[-1][name] for name in ("rows_done", "rows_total", "tokens", "tokens_per_s")} == {
        "rows_done": 24,
        "rows_total": 24,
        "tokens": 240,
        "tokens_per_s": 2.5,
    }
    summary = {key: value for update in items(records, "summary") for key, value in update.items()}
    assert {name: summary[name] for name in SCORES} == SCORES
    assert [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"] == [0]

    artifact = read_artifacts(records)["run_table"]
    files = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    assert all(path.is_relative_to(tmp_path / "wandb") for path in files.values())
    rows = read_table(artifact, "samples")
    assert [row["sample_id"] for row in rows] == ["s0", "s1", "s2", "s3"]
    assert (rows[3]["answer"], rows[3]["judge_reply"], rows[3]["score"]) == ("answer 3", None, 3 / 24)
    assert rows[0]["image"] is None
    assert rows[1]["image"] is None
    assert [Image.open(files[row["image"]["path"]]).size for row in rows[2:]] == [(512, 128), (64, 64)]
    assert [row["image 2"] for row in rows[:3]] == [None] * 3
    assert Image.open(files[rows[3]["image 2"]["path"]]).size == (8, 16)

    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "home").exists()
    assert [name for name in os.environ if name.startswith("WANDB_")] == []


def read_artifacts(records: list[Any]) -> dict[str, Any]:
    """The artifacts of a run by their types."""
    found = [record.request.log_artifact.artifact for record in records if record.request.HasField("log_artifact")]
    found += [record.artifact for record in records if record.WhichOneof("record_type") == "artifact"]
    return {artifact.type: artifact for artifact in found}


def read_table(artifact: Any, name: str) -> list[dict[str, Any]]:
    (file,) = [Path(one.local_path) for one in artifact.manifest.contents if one.path == f"{name}.table.json"]
    table = json.loads(file.read_text())
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def test_the_sweeps_run_has_its_series_its_leaderboard_its_page_and_the_address_of_its_data(tmp_path: Path) -> None:
    facts = replace(make_cell(1), name="sweep night", parent=None)
    page = tmp_path / "report.html"
    page.write_text("<p>the page</p>")
    tracker = open_tracker(CONFIG, tmp_path / "run", {})
    tracker.progress(facts, Progress(8, 24, {"tokens_per_s": 20.5, "tokens_per_s/tiny": 12.5, "queue/tiny": 16}))
    row = ("tiny", 0.5, 0.4, 0.6, 0.35, 0.65, 0.9, None)
    columns = ("model", "value", "ci_low", "ci_high", "bound_ci_low", "bound_ci_high", "coverage", "blocked")
    final = Final(
        {"cells": 1}, {"leaderboard": TrackedTable(columns, [row])}, (page,), {"answer-ab": "s3://b/steps/ab"}
    )
    tracker.finish(facts, final, ignore)
    close(tracker)

    (run_folder,) = run_folders(tmp_path / "run")
    records = read_records(run_folder)
    run = next(record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.job_type, run.display_name) == ("sweep", "sweep night")
    point = next(one for one in items(records, "history") if "queue/tiny" in one)
    assert (point["tokens_per_s"], point["tokens_per_s/tiny"], point["queue/tiny"]) == (20.5, 12.5, 16)
    artifacts = read_artifacts(records)
    assert read_table(artifacts["run_table"], "leaderboard") == [dict(zip(columns, row, strict=True))]
    (entry,) = artifacts["store"].manifest.contents
    assert (entry.path, entry.ref, entry.local_path) == ("answer-ab", "s3://b/steps/ab", "")
    assert (run_folder / "files" / "report.html").read_text() == "<p>the page</p>"


def test_run_that_was_open_takes_the_name_that_its_figures_have(tmp_path: Path) -> None:
    cell = make_cell(1)
    tracker = open_tracker(CONFIG, tmp_path, {})
    tracker.progress(cell, Progress(8, 24, {"tokens": 1, "tokens_per_s": 1.0}))
    tracker.finish(replace(cell, name=f"{cell.name} (partial)"), Final(SCORES), ignore)
    close(tracker)
    (run_folder,) = run_folders(tmp_path)
    names = [
        record.run.display_name for record in read_records(run_folder) if record.WhichOneof("record_type") == "run"
    ]
    assert names[-1] == f"{cell.name} (partial)"


def test_runs_of_several_cells_are_open_at_once(tmp_path: Path) -> None:
    cells = [make_cell(number) for number in range(3)]
    tracker = open_tracker(CONFIG, tmp_path, {})
    for cell in cells:
        tracker.progress(cell, Progress(12, 24, {"tokens": 1, "tokens_per_s": 1.0}))
    for cell in cells:
        tracker.finish(cell, Final({"recall": int(cell.name[-1])}), ignore)
    close(tracker)
    recalls = {}
    for run_folder in run_folders(tmp_path):
        (summary,) = [update for update in items(read_records(run_folder), "summary") if "recall" in update]
        recalls[run_folder.name.rsplit("-", 1)[1]] = summary["recall"]
    assert recalls == {cell.key[:32]: number for number, cell in enumerate(cells)}


def test_unfinished_cell_ends_as_failed_and_resumes_under_the_same_id(tmp_path: Path) -> None:
    cell = make_cell(1)
    tracker = open_tracker(CONFIG, tmp_path, {})
    tracker.progress(cell, Progress(8, 24, {"tokens": 1, "tokens_per_s": 1.0}))
    close(tracker)
    tracker = open_tracker(CONFIG, tmp_path, {})
    tracker.finish(cell, Final(SCORES), ignore)
    close(tracker)
    exits = {
        record.exit.exit_code
        for run_folder in run_folders(tmp_path, f"offline-run-*-{cell.key[:32]}*")
        for record in read_records(run_folder)
        if record.WhichOneof("record_type") == "exit"
    }
    assert len(run_folders(tmp_path)) == 2
    assert exits == {1, 0}


def test_late_progress_does_not_open_a_finished_run_again(tmp_path: Path) -> None:
    tracker = open_tracker(CONFIG, tmp_path, {})
    tracker.finish(make_cell(1), Final(SCORES), ignore)
    unmarked = replace(make_cell(1), name="before its figures were known")
    tracker.progress(unmarked, Progress(24, 24, {"tokens": 1, "tokens_per_s": 1.0}))
    close(tracker)
    assert len(run_folders(tmp_path)) == 1


class RefusingServer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_refused_key_leaves_the_sweep_offline_with_one_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = replace(AUTO, api_key_env="TEAM_KEY")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RefusingServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("TEAM_KEY", SECRET)
    tracker = open_tracker(config, tmp_path, os.environ)
    for number in range(2):
        final = Final(SCORES, {"samples": make_samples((make_picture(8, 8),))})
        tracker.finish(make_cell(number), final, ignore)
    close(tracker)
    server.shutdown()
    server.server_close()

    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("eibench_ray")]
    assert "offline" in warning
    assert "401" in warning
    assert len(run_folders(tmp_path)) == 2
    assert find_bytes(tmp_path, b"ci_high")
    assert find_bytes(tmp_path, SECRET.encode()) == []
    assert SECRET not in caplog.text
    assert capfd.readouterr().out == ""


def test_planted_secret_is_in_no_file_of_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    tracker = open_tracker(CONFIG, tmp_path, os.environ)
    tracker.finish(make_cell(1), Final(SCORES), ignore)
    close(tracker)
    assert find_bytes(tmp_path, b"ci_high")
    assert find_bytes(tmp_path, SECRET.encode()) == []


def test_killed_service_costs_no_final_and_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cells = [make_cell(1), make_cell(2)]
    tracker = open_tracker(CONFIG, tmp_path, {})
    tracker.progress(cells[0], Progress(8, 24, {"tokens": 1, "tokens_per_s": 1.0}))
    while not (service := [child for child in psutil.Process().children() if child.name() == "wandb-core"]):
        pass
    service[0].kill()
    service[0].wait(10)
    for cell in cells:
        tracker.finish(cell, Final(SCORES), ignore)
    close(tracker)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    for cell in cells:
        runs = [read_records(run_folder) for run_folder in run_folders(tmp_path, f"offline-run-*-{cell.key[:32]}*")]
        assert any("recall" in update for records in runs for update in items(records, "summary"))


def test_folder_that_cannot_be_written_warns_once_and_reports_each_cell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    tracker = open_tracker(CONFIG, tmp_path / "file" / "runs", {})
    for number in range(3):
        tracker.finish(make_cell(number), Final(SCORES), fail)
    report = close(tracker)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "NotADirectoryError" in warning
    assert sorted(report.missing) == [make_cell(number).name for number in range(3)]
    assert all("NotADirectoryError" in reason for reason in report.missing.values())


def fail(delivery: Delivery) -> None:
    raise AssertionError(f"{delivery} was not delivered")


@pytest.mark.parametrize(
    ("mode", "environ", "expected"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": ""}, "offline"),
        ("auto", {"WANDB_API_KEY": SECRET, "WANDB_MODE": "disabled"}, "disabled"),
        ("auto", {"WANDB_API_KEY": SECRET, "WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_API_KEY": SECRET, "WANDB_MODE": "dryrun"}, "offline"),
        ("offline", {"WANDB_API_KEY": SECRET}, "offline"),
        ("offline", {"WANDB_MODE": "disabled"}, "offline"),
        ("auto", {"WANDB_API_KEY": SECRET}, "online"),
        ("online", {"WANDB_API_KEY": SECRET, "WANDB_MODE": "offline"}, "online"),
    ],
)
def test_mode_follows_the_configuration_then_wandb_mode_then_the_key(
    mode: Literal["auto", "online", "offline"], environ: dict[str, str], expected: str
) -> None:
    assert replace(CONFIG, mode=mode).target(environ).mode == expected


def test_disabled_mode_tracks_nothing(tmp_path: Path) -> None:
    assert isinstance(open_tracker(AUTO, tmp_path, {"WANDB_MODE": "disabled"}), NoTracker)


@pytest.mark.parametrize(
    ("mode", "environ", "names"),
    [
        ("online", {}, ["tracking.wandb.mode", "WANDB_API_KEY", "eibench-ray track"]),
        ("auto", {"WANDB_MODE": "online"}, ["WANDB_MODE", "WANDB_API_KEY"]),
        ("auto", {"WANDB_MODE": "shared"}, ["WANDB_MODE", "'shared'"]),
    ],
)
def test_mode_that_would_prompt_or_is_unknown_is_refused(
    mode: Literal["auto", "online"], environ: dict[str, str], names: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_tracker(replace(CONFIG, mode=mode), tmp_path, environ)
    assert [name for name in names if name not in str(caught.value)] == []


def test_a_plan_finds_trackers_without_importing_wandb(tmp_path: Path) -> None:
    script = """
import sys
from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.tracking.tracker_registry import find_trackers
kinds = find_trackers(TrackingConfig(wandb={"project": "x"}))
print(list(kinds), kinds["wandb"].target({}).mode)
print("wandb" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['wandb'] offline\nFalse\n"
    assert list(tmp_path.iterdir()) == []

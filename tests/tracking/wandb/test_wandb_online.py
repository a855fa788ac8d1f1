"""Tracking with the real W&B against a server on loopback: what arrives, what does not, and what is said of it."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from PIL import Image
from wandb_server import Faults, WandbServer

from eibench_ray.tracking.tracker import Delivery, Final, Progress, RunFacts, TrackedTable
from eibench_ray.tracking.tracker_registry import open_tracker
from eibench_ray.tracking.wandb.wandb_environ import left_out
from eibench_ray.tracking.wandb.wandb_tracker import WandbTracker

KEY = "planted" + "0123456789" * 4
CONFIG = WandbTracker(project="affect", mode="online")
SCORES = {"recall": 0.5, "n": 24}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server, a key for it, a home folder of the test's own."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield server
    server.stop()
    import wandb  # half a second of each process that collects the tests

    wandb.teardown()


def make_cell(number: int) -> RunFacts:
    key = hashlib.sha256(str(number).encode()).hexdigest()
    return RunFacts(key, "night", f"tiny/plain/demo/judge{number}", {"seed": number}, 24, "ab")


def make_final() -> Final:
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 60).save(buffer, "PNG")
    table = TrackedTable(("sample_id", "answer", "recall", "image"), [("s0", "an answer", 0.5, buffer.getvalue())])
    return Final(SCORES, {"samples": table})


def test_each_cell_arrives_as_a_run_of_its_own_and_says_where(server: WandbServer, tmp_path: Path) -> None:
    cells = [make_cell(number) for number in range(2)]
    deliveries: list[Delivery] = []
    tracker = open_tracker(CONFIG, tmp_path, os.environ)
    tracker.progress(cells[0], Progress(12, 24, {"tokens": 1, "tokens_per_s": 1.0}))
    for cell in cells:
        tracker.finish(cell, make_final(), deliveries.append)
    report = tracker.close(60.0, lambda _: None)

    assert set(server.runs) == {("affect", cell.key[:32]) for cell in cells}
    for cell in cells:
        run = server.runs["affect", cell.key[:32]]
        assert (run.upserts[0]["groupName"], run.upserts[0]["displayName"]) == ("night", cell.name)
        assert {name: run.summary[name] for name in SCORES} == SCORES
        assert run.exit_code == 0
    assert "samples.table.json" in server.files
    assert [delivery.run_id for delivery in deliveries] == [cell.key[:32] for cell in cells]
    assert {delivery.mode for delivery in deliveries} == {"online"}
    assert all(delivery.url and "/team/affect/runs/" in delivery.url for delivery in deliveries)
    assert set(report.sent) == {cell.name for cell in cells}
    assert report.describe(tmp_path) is None
    left = [path for path in (tmp_path / "wandb").iterdir() if not path.name.startswith("run-")]
    assert left == []  # neither what was staged for the upload nor a cache


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(stream=402, message="storage quota exceeded"), ["402 Payment Required", "storage quota exceeded"]),
        (Faults(upload=403), ["403 Forbidden"]),
        (Faults(graphql="CommitArtifact", message="read-only project"), ["read-only project"]),
        (Faults(graphql="UpsertBucket", message="no such team"), ["no such team"]),
        (Faults(graphql="*", message="user is not logged in"), ["user is not logged in"]),
    ],
    ids=["quota", "files", "artifact", "entity", "login"],
)
def test_what_the_server_refuses_is_offline_with_its_reason_and_not_taken_for_sent(
    server: WandbServer, tmp_path: Path, faults: Faults, words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = faults
    deliveries: list[Delivery] = []
    tracker = open_tracker(CONFIG, tmp_path, os.environ)
    for number in range(3):
        tracker.finish(make_cell(number), make_final(), deliveries.append)
    report = tracker.close(60.0, lambda _: None)

    assert [delivery.mode for delivery in deliveries] == ["offline"] * 3
    assert (report.sent, len(report.offline), report.missing) == ({}, 3, {})
    text = report.describe(tmp_path)
    assert text is not None
    assert [word for word in [*words, "3 of 3", "eibench-ray track"] if word not in text] == []
    (warning,) = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("eibench_ray") and record.levelno >= logging.WARNING
    ]
    assert [word for word in words if word not in warning] == []


def test_bad_name_of_a_project_is_said_whole(server: WandbServer, tmp_path: Path) -> None:
    tracker = open_tracker(replace(CONFIG, project="a/b"), tmp_path, os.environ)
    tracker.finish(make_cell(1), Final(SCORES), lambda _: None)
    report = tracker.close(60.0, lambda _: None)
    assert "invalid project name" in str(report.reason).lower()
    assert server.runs == {}
    assert set(report.missing) == {make_cell(1).name}  # W&B refuses it offline, too


def test_cell_after_a_refused_one_is_still_sent(server: WandbServer, tmp_path: Path) -> None:
    reached = threading.Event()
    server.faults = Faults(stream=409, message="run was deleted")
    tracker = open_tracker(CONFIG, tmp_path, os.environ)
    tracker.finish(make_cell(1), Final(SCORES), lambda _: reached.set())
    assert reached.wait(60)
    server.faults = Faults()
    tracker.finish(make_cell(2), Final(SCORES), lambda _: None)
    report = tracker.close(60.0, lambda _: None)
    assert (list(report.offline), list(report.sent)) == ([make_cell(1).name], [make_cell(2).name])


def test_silent_server_is_waited_for_aloud_until_the_deadline(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eibench_ray.tracking.tracking_queue.FIRST_WORD_S", 0.5)
    server.faults = Faults(is_silent=True)
    said: list[str] = []
    tracker = open_tracker(CONFIG, tmp_path, os.environ)
    for number in range(2):
        tracker.finish(make_cell(number), Final(SCORES), lambda _: None)
    report = tracker.close(2.0, said.append)
    assert said
    assert [word for word in ["0 of 2", make_cell(0).name, "of 2 s", "Ctrl-C"] if word not in said[0]] == []
    assert set(report.missing) == {make_cell(number).name for number in range(2)}
    assert "2 s" in str(report.reason)
    assert [child for child in psutil.Process().children() if child.name() == "wandb-core"] == []


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt; a process that a shell starts with `&` is started with SIGINT ignored."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_ends_the_wait_and_names_what_is_left(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eibench_ray.tracking.tracking_queue.FIRST_WORD_S", 0.0)
    server.faults = Faults(is_silent=True)
    tracker = open_tracker(CONFIG, tmp_path, os.environ)
    tracker.finish(make_cell(1), Final(SCORES), lambda _: None)
    report = tracker.close(300.0, lambda _: signal.raise_signal(signal.SIGINT))
    assert list(report.missing) == [make_cell(1).name]
    assert "interrupted" in str(report.reason)


def test_refused_connection_is_named_whole(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eibench_ray.tracking.wandb.wandb_runs.START_TIMEOUT_S", 4.0)
    monkeypatch.setattr("eibench_ray.tracking.tracking_queue.FIRST_WORD_S", 2.5)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    said: list[str] = []
    tracker = open_tracker(CONFIG, tmp_path, os.environ)
    tracker.finish(make_cell(1), Final(SCORES), lambda _: None)
    report = tracker.close(60.0, said.append)
    assert "connection refused" in str(report.reason)
    assert list(report.offline) == [make_cell(1).name]
    assert "connection refused" in said[0]
    assert server.runs == {}
    assert list((tmp_path / "wandb").glob("run-*")) == []


def test_variables_of_an_agent_do_not_make_all_cells_one_run(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "parameters.yaml").write_text("model: {value: gpt}\n")
    of_agent = {
        "WANDB_SWEEP_ID": "sw33p",
        "WANDB_SWEEP_PARAM_PATH": str(tmp_path / "parameters.yaml"),
        "WANDB_RUN_ID": "one-run",
        "WANDB_RUN_GROUP": "theirs",
        "WANDB_RESUME": "must",
        "WANDB_NAME": "theirs",
        "WANDB_PROJECT": "elsewhere",
        "WANDB_ENTITY": "somebody",
        "WANDB_SERVICE": "3-1-tcp-localhost-1",
        "WANDB_LAUNCH": "true",
        "WANDB_X_LABEL": "agent",
    }
    for name, value in of_agent.items():
        monkeypatch.setenv(name, value)
    cells = [make_cell(number) for number in range(2)]
    tracker = open_tracker(CONFIG, tmp_path, os.environ)
    for cell in cells:
        tracker.finish(cell, Final(SCORES), lambda _: None)
    report = tracker.close(60.0, lambda _: None)

    assert set(report.sent) == {cell.name for cell in cells}
    assert set(server.runs) == {("affect", cell.key[:32]) for cell in cells}
    for cell in cells:
        upsert = server.runs["affect", cell.key[:32]].upserts[0]
        assert (upsert["groupName"], upsert["displayName"], upsert["sweep"]) == ("night", cell.name, None)
        assert "gpt" not in upsert["config"]
    (warning,) = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("eibench_ray") and record.levelno >= logging.WARNING
    ]
    assert [name for name in of_agent if name not in warning] == []
    assert {name: os.environ[name] for name in of_agent} == of_agent  # the process has them again


def test_variables_of_the_connection_stay() -> None:
    environ = dict.fromkeys(
        ["WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_TAGS", "WANDB_NOTES", "WANDB_HTTPS_PROXY", "WANDB_X_FILE_STREAM"],
        "x",
    )
    assert left_out(environ | {"WANDB_RUN_ID": "", "PROJECT": "x"}) == []

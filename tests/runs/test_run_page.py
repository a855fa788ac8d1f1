"""The page of a run: what it holds, what it leaves out, and that it never costs a run anything."""

from __future__ import annotations

import json
import logging
import platform
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.config.report_section import ReportConfig
from eibench_ray.errors import StoreError
from eibench_ray.runs import run_page
from eibench_ray.runs.find_run import FoundRun, find_run
from eibench_ray.runs.results import score_run
from eibench_ray.runs.run_page import write_report, write_run_page
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep

BLOCK = re.compile(r'<script type="application/json" id="block-([\w-]+)">(.*?)</script>', re.DOTALL)
WHOLE = ReportConfig(pictures="thumbnails")


def record(sweep: PlannedSweep, folder: Path) -> FoundRun:
    """A run that has ended, as `run` leaves it."""
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    folder.mkdir(exist_ok=True)
    status = new_status(manifest, sweep.store)
    status.state = "finished"
    status.write(folder)
    return find_run(str(folder))


def blocks_of(page: Path) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in BLOCK.findall(page.read_text(encoding="utf-8"))}


@pytest.fixture
def run(sweeps: Sweeps, tmp_path: Path) -> FoundRun:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("plain"), sweeps.config("noted"), sweeps.config("plain", "other"))
    sweeps.ask(sweep)
    return record(sweep, tmp_path / "run")


def test_a_page_holds_figures_and_samples(run: FoundRun, tmp_path: Path) -> None:
    page = write_report([run], tmp_path / "page.html", WHOLE)
    blocks = blocks_of(page.path)
    rows = score_run(run.manifest, run.store)
    assert {tuple(row["names"]) for row in blocks["page"]["board"]["rows"]} == {
        (row.model, row.setting, row.dataset, row.judge_and_mark) for row in rows
    }
    assert blocks["index-0"]["ids"] == [f"s{number:03d}" for number in range(10)]
    assert blocks["samples-0-0"]["thumbnails"][0].startswith("data:image/webp;base64,")
    assert blocks["page"]["sets"] == [{"dataset": "faces", "total": 10, "shown": 10, "cells": [0, 1, 2]}]
    assert "the texts of 10 samples, and 7 thumbnails" in page.contents  # pictures that look alike are one
    [told] = blocks["page"]["head"]["runs"]
    assert f"python {platform.python_version()}, ray {version('ray')}, " in told["versions"]


def test_cells_of_the_same_answers_share_them(run: FoundRun, tmp_path: Path) -> None:
    blocks = blocks_of(write_report([run], tmp_path / "page.html", WHOLE).path)
    cells = {tuple(cell["names"][1::2]): cell["answers"] for cell in blocks["page"]["cells"]}
    assert cells["plain", "strict"] == cells["plain", "other"] != cells["noted", "strict"]
    assert sorted(name for name in blocks if name.startswith("answers")) == ["answers-0-0", "answers-1-0"]


def test_the_prompt_is_the_one_that_was_sent(run: FoundRun, tmp_path: Path) -> None:
    block = blocks_of(write_report([run], tmp_path / "page.html", WHOLE).path)["answers-0-0"]
    system, user = block["sent"][3][0]
    assert system is None
    assert block["texts"][user] == "[picture 1]\nLook. why is person 3 so?"


def test_earlier_calls_stand_beside_the_answer(run: FoundRun, tmp_path: Path) -> None:
    blocks = blocks_of(write_report([run], tmp_path / "page.html", WHOLE).path)
    ((title, text),) = blocks["answers-1-0"]["calls"][3]
    assert title == "note"
    assert "echo" in blocks["answers-1-0"]["texts"][text]
    assert "calls" not in blocks["answers-0-0"]


def test_pictures_are_left_out_unless_somebody_asks(run: FoundRun, tmp_path: Path) -> None:
    page = write_report([run], tmp_path / "page.html", ReportConfig())
    assert "data:image" not in page.path.read_text().partition("</head>")[2]
    assert page.contents == "This page holds the texts of 10 samples, and no pictures (report.pictures=none)."


def test_samples_beyond_the_most_are_counted(run: FoundRun, tmp_path: Path) -> None:
    page = write_report([run], tmp_path / "page.html", ReportConfig(samples=4))
    assert blocks_of(page.path)["index-0"]["ids"] == ["s000", "s001", "s002", "s003"]
    assert "(6 more are left out: report.samples=4)" in page.contents


def test_a_page_without_samples_holds_no_text_of_them(run: FoundRun, tmp_path: Path) -> None:
    page = write_report([run], tmp_path / "page.html", ReportConfig(samples=0))
    assert set(blocks_of(page.path)) == {"page"}
    assert "person 3" not in page.path.read_text()
    assert all(row["cell"] is None for row in blocks_of(page.path)["page"]["board"]["rows"])


def test_a_large_page_becomes_a_folder_and_a_small_one_none(
    run: FoundRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_page, "MOST_INLINE", 100)
        page = write_report([run], tmp_path / "page.html", WHOLE)
    names = sorted(path.name.partition(".")[0] for path in page.data.iterdir())
    assert page.data == tmp_path / "page_data"
    assert names == sorted(blocks_of(write_report([run], tmp_path / "other.html", WHOLE).path))
    assert blocks_of(page.path) == {}
    assert write_report([run], tmp_path / "page.html", WHOLE).data == tmp_path / "page.html"
    assert not (tmp_path / "page_data").exists()


def test_two_runs_share_a_page_and_their_letters(sweeps: Sweeps, run: FoundRun, tmp_path: Path) -> None:
    other = sweeps.plan(sweeps.config("plain", engine={"kind": "echo", "fails_on": "nothing"}))
    sweeps.ask(other)
    page = write_report([run, record(other, tmp_path / "second")], tmp_path / "page.html", WHOLE)
    found = blocks_of(page.path)["page"]
    assert [one["letter"] for one in found["head"]["runs"]] == ["A", "B"]
    assert {cell["set"] for cell in found["cells"]} == {0}
    assert {cell["names"][0] for cell in found["cells"]} == {"echo (A)", "echo (B)"}


def test_a_page_that_cannot_be_written_is_a_warning(
    run: FoundRun, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(run_page, "write_page", fail)
    with caplog.at_level(logging.WARNING):
        assert write_run_page(run, ReportConfig(), score_run(run.manifest, run.store)) is None
    assert "report.html was not written: the disk is full" in caplog.text
    assert list(run.folder.glob("*.html")) == []


def test_an_interrupted_page_leaves_the_old_one(run: FoundRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report([run], tmp_path / "page.html", WHOLE).path
    before = path.read_bytes()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_page, "make_board", stop)
    with pytest.raises(KeyboardInterrupt):
        write_report([run], path, WHOLE)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".page")] == []


def test_a_run_that_is_not_done_has_a_page(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("plain"))
    first, *_ = sweep.work
    sweeps.ask(
        replace(
            sweep,
            work={
                step: replace(left, todo=left.todo[:1] if step == first else ()) for step, left in sweep.work.items()
            },
        )
    )
    blocks = blocks_of(write_report([record(sweep, tmp_path / "run")], tmp_path / "page.html", WHOLE).path)
    troubles = blocks["index-0"]["cells"]["0"]["troubles"]
    assert troubles["levels"] == ["not asked yet"]
    assert blocks["answers-0-0"]["answers"][9] == [None]

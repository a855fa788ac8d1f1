"""The pictures of a real run's page: which there are, and that what goes wrong with them costs no page."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_compare_run import plan_all, reply
from test_run_page import blocks_of, record

from eibench_ray.benchmarks.eibench import claim_chart
from eibench_ray.benchmarks.eibench.claims import Claim
from eibench_ray.config.report_section import ReportConfig
from eibench_ray.runs import chart_figures
from eibench_ray.runs.run_page import write_report
from eibench_ray.store.run_folder import LEDGER_FILE

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.find_run import FoundRun

FIGURES = ReportConfig(samples=0)


@pytest.fixture
def run(sweeps: Sweeps, tmp_path: Path) -> FoundRun:
    """Two models in two settings under two judges, some rows of which are errors, with a ledger of its GPU time."""
    sweeps.write_dataset(emotions={0: "angry", 1: "angry", 5: "angry"})
    sweep = plan_all(sweeps)
    sweeps.ask(sweep, sweeps.scripted(reply))
    found = record(sweep, tmp_path / "run")
    engine, step = next(iter(sweep.plan.engines)), next(iter(sweep.plan.steps))
    events: list[tuple[float, str, dict[str, Any]]] = [
        (0, "run_started", {}),
        (0, "node_joined", {"node": "id", "name": "host", "gpus": 1}),
        (0, "replica_starting", {"replica": 0, "engine": engine, "model": "able", "nodes": ["id"], "gpus": 1}),
        (9, "slice_sent", {"replica": 0, "step": step, "slice": 0, "rows": 4}),
        (20, "slice_committed", {"replica": 0, "step": step, "slice": 0, "seconds": 9.0}),
        (21, "run_ended", {}),
    ]
    lines = [json.dumps({"time": 1000 + time, "event": event, **facts}) for time, event, facts in events]
    (tmp_path / "run" / LEDGER_FILE).write_text("\n".join(lines), encoding="utf-8")
    return found


def charts_of(page: Path) -> dict[str, dict[str, Any]]:
    """The pictures of a page by name."""
    return {chart["name"]: chart for chart in blocks_of(page)["page"]["charts"]}


def test_a_runs_page_has_the_pictures_that_it_has_figures_for(
    run: FoundRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim("faces", "plain", "able", "mild", "overall", Decimal("50.00"), 10, "Able", "a test")
    monkeypatch.setattr(claim_chart, "read_claims", lambda _: [claim])
    charts = charts_of(write_report([run], tmp_path / "page.html", FIGURES, group_by=["emotion"]).path)
    assert list(charts) == [
        "published-others-1",
        "groups-1",
        "settings-1",
        "settings-2",
        "agreement-1",
        "bias-1",
        "length-1",
        "length-2",
        "gpu-hours-1",
        "gpu-hours-2",
        "answers",
        "replies",
        "scores",
        "gantt",
        "gpu-time",
    ]
    assert charts["published-others-1"]["text"].startswith("1 published figure beside what was measured: 1 ")
    assert "prompt error" in charts["answers"]["text"]
    assert "8 cells by emotion" in charts["groups-1"]["text"]


def test_a_run_that_no_figure_was_published_about_has_no_picture_of_them(run: FoundRun, tmp_path: Path) -> None:
    assert "published-others-1" not in charts_of(write_report([run], tmp_path / "page.html", FIGURES).path)


def test_two_runs_have_a_gantt_picture_each_and_their_time_by_cell(run: FoundRun, tmp_path: Path) -> None:
    charts = charts_of(write_report([run, run], tmp_path / "page.html", FIGURES).path)
    names = list(charts)
    assert "GPU-seconds of the cell in the runs here" in charts["gpu-hours-1"]["text"]
    assert [name for name in names if name.startswith("g")][-4:] == ["gantt-A", "gpu-time-A", "gantt-B", "gpu-time-B"]


def test_a_benchmark_that_fails_costs_the_pictures_and_says_so(
    run: FoundRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> dict[str, Any]:
        raise ZeroDivisionError("in somebody's own benchmark")

    monkeypatch.setattr(chart_figures, "load_all", fail)
    page = blocks_of(write_report([run], tmp_path / "page.html", FIGURES).path)["page"]
    assert page["charts"] == []
    assert page["head"]["troubles"] == ["no pictures: ZeroDivisionError: in somebody's own benchmark"]

"""GPU time of a run, as `status` and `report` tell it from the run's ledger, whatever the ledger holds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from read_back import read_status
from rich.console import Console

from eibench_ray.cli.run_commands import report
from eibench_ray.driver.run_progress import RunProgress
from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.errors import DataError
from eibench_ray.rows.wait import Wait
from eibench_ray.runs.run_listeners import StatusWriter
from eibench_ray.runs.run_record import LEDGER_FILE, RunState, new_manifest, new_status, read_run, write_manifest
from eibench_ray.runs.status_page import render_status
from eibench_ray.schedule.gpu_usage import step_roles
from eibench_ray.schedule.replica_meter import TimeKind
from eibench_ray.terminal.run_log import LOG_FILE

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    sweeps.write_dataset()
    return sweeps.plan(sweeps.config("plain"), sweeps.config("noted"))


def record(
    sweep: PlannedSweep, folder: Path, events: Iterable[dict[str, Any]] | None, state: RunState = "finished"
) -> Path:
    """The folder of a run with this ledger; without any, where there are no events."""
    folder.mkdir(parents=True)
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    status = new_status(manifest, sweep.store)
    status.state = state
    status.write(folder)
    if events is not None:
        (folder / LEDGER_FILE).write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    return folder


def events_of(sweep: PlannedSweep, start: float = 1e9, gpus: int = 2) -> list[dict[str, Any]]:
    """A run of 20 s with one replica of one GPU that answers one slice in 10 s."""
    plan = sweep.plan
    step = plan.steps[next(step for step, role in step_roles(plan).items() if role is TimeKind.GENERATING)]
    whose = {"replica": 1, "engine": step.engine, "model": plan.engines[step.engine].name}
    slice_ = {"replica": 1, "step": step.id, "slice": 0}
    told: list[tuple[float, str, dict[str, Any]]] = [
        (0, "run_started", {}),
        (0, "node_joined", {"node": "ab12", "name": "host", "cpus": 8, "gpus": gpus}),
        (0, "replica_starting", whose | {"nodes": ["ab12"], "gpus": min(gpus, 1)}),
        (1, "replica_placed", {"replica": 1}),
        (6, "replica_ready", whose | {"node": "host", "load_s": 5.0, "capacity": 8, "fingerprint": "echo 1"}),
        (6, "slice_sent", slice_ | {"rows": 4}),
        (16, "slice_committed", slice_ | {"new": 4, "kept": 0, "errors": 0, "completion_tokens": 9, "seconds": 10.0}),
        (18, "replica_stopping", {"replica": 1, "engine": step.engine}),
        (20, "replica_stopped", {"replica": 1, "engine": step.engine}),
        (20, "run_ended", {}),
    ]
    return [{"time": start + time, "event": event, **facts} for time, event, facts in told]


HELD = {"waiting": 1.0, "loading": 5.0, "generating": 10.0, "idle": 2.0, "leaving": 2.0}


def kinds(gpu_time: dict[str, Any]) -> dict[str, float]:
    return {kind: part["seconds"] for kind, part in gpu_time["kinds"].items()}


def test_gpu_time_is_told_by_kind_replica_engine_and_cell(sweep: PlannedSweep, tmp_path: Path) -> None:
    facts = read_status(record(sweep, tmp_path / "run", events_of(sweep)))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    gpu_time = facts["gpu_time"]
    assert {name: gpu_time[name] for name in ("unit", "gpus", "duration_s", "seconds")} == {
        "unit": "GPU",
        "gpus": 2,
        "duration_s": 20.0,
        "seconds": 40.0,
    }
    assert kinds(gpu_time) == HELD | {"no_work": 20.0}
    assert gpu_time["kinds"]["generating"]["share"] == 0.25
    (replica,) = gpu_time["replicas"]
    assert (replica["nodes"], replica["gpus"], replica["start_s"], replica["end_s"]) == (["host"], 1, 0.0, 20.0)
    assert replica["kinds"] == gpu_time["engines"][0]["kinds"] == HELD
    assert len(gpu_time["cells"]) == len(sweep.plan.cells)
    assert sum(cell["seconds"] for cell in gpu_time["cells"]) == pytest.approx(20.0)
    assert facts["loads"] == 1
    assert [engine["load_s"] for engine in facts["engines"]] == [5.0]


def test_without_gpus_the_replicas_time_is_told(sweep: PlannedSweep, tmp_path: Path) -> None:
    gpu_time = read_status(record(sweep, tmp_path / "run", events_of(sweep, gpus=0)))["gpu_time"]
    assert (gpu_time["unit"], gpu_time["gpus"]) == ("replica", 0)
    assert kinds(gpu_time) == HELD


def test_a_ledger_of_an_older_version_gives_what_it_has(sweep: PlannedSweep, tmp_path: Path) -> None:
    new = {"run_started", "run_ended", "node_joined", "replica_placed", "slice_sent"}
    old = [event for event in events_of(sweep) if event["event"] not in new]
    for event in old:
        event.pop("nodes", None)
        event.pop("gpus", None)
    facts = read_status(record(sweep, tmp_path / "run", old))
    assert kinds(facts["gpu_time"]) == {"loading": 6.0, "generating": 10.0, "idle": 2.0, "leaving": 2.0}
    assert facts["loads"] == 1


def test_a_line_that_a_kill_cut_short_is_passed_over(sweep: PlannedSweep, tmp_path: Path) -> None:
    folder = record(sweep, tmp_path / "run", events_of(sweep)[:-2])
    with (folder / LEDGER_FILE).open("a", encoding="utf-8") as file:
        file.write('{"time": 10000000')
    held = {kind: seconds for kind, seconds in HELD.items() if kind != "leaving"}
    assert kinds(read_status(folder)["gpu_time"]) == held | {"unassigned": 18.0}


@pytest.mark.parametrize("events", [None, []], ids=["no ledger", "an empty one"])
def test_a_run_that_asked_nothing_has_no_gpu_time(
    sweep: PlannedSweep, tmp_path: Path, events: list[dict[str, Any]] | None
) -> None:
    facts = read_status(record(sweep, tmp_path / "run", events))
    assert (facts["gpu_time"]["seconds"], facts["gpu_time"]["kinds"], facts["loads"]) == (0.0, {}, 0)
    assert "where the time went" not in shown(facts)


def test_a_run_that_goes_on_is_counted_up_to_now(sweep: PlannedSweep, tmp_path: Path) -> None:
    begun = events_of(sweep, start=time.time() - 100)[:6]
    gpu_time = read_status(record(sweep, tmp_path / "run", begun, state="running"))["gpu_time"]
    assert gpu_time["duration_s"] == pytest.approx(100, abs=20)
    assert kinds(gpu_time)["generating"] == pytest.approx(94, abs=20)
    assert kinds(gpu_time)["unassigned"] == gpu_time["duration_s"]


def test_people_read_a_row_per_engine_and_why_gpus_were_free(sweep: PlannedSweep, tmp_path: Path) -> None:
    text = shown(read_status(record(sweep, tmp_path / "run", events_of(sweep))))
    lines = [line.split() for line in text.splitlines()]
    assert ["all", "40.0", "100.0%", "2.5%", "12.5%", "25.0%", "5.0%", "5.0%"] in lines
    assert ["echo", "20.0", "50.0%", "2.5%", "12.5%", "25.0%", "5.0%", "5.0%"] in lines
    assert "GPUs that no replica held: 50.0% no replica needed" in text


def test_report_shows_the_cells_and_draws_the_run(
    sweep: PlannedSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record(sweep, tmp_path / "run", events_of(sweep))
    report([str(folder)], tmp_path / "run.svg")
    told = capsys.readouterr().out
    assert "where the time went" in told
    assert str(tmp_path / "run.svg") in told
    assert "GPU 1" in (tmp_path / "run.svg").read_text(encoding="utf-8")
    report([str(folder)], as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert kinds(answer["gpu_time"])["no_work"] == 20.0
    assert all(".svg" not in name for name in answer["files"])


def test_report_refuses_a_picture_of_another_kind(sweep: PlannedSweep, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"written as \.html or \.svg"):
        report([str(record(sweep, tmp_path / "run", events_of(sweep)))], tmp_path / "run.pdf")


def shown(facts: dict[str, Any]) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        for part in render_status(facts):
            console.print(part, highlight=False)
    return captured.get()


PAID = {"price": {"input": 1e6, "output": 0.0}, "fails_on": "never"}  # a dollar per word: six for each answer


def test_people_and_programs_read_what_it_cost(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(engine=PAID))
    sweeps.ask(sweep, EchoEngine(EchoSection.model_validate({"kind": "echo"} | PAID)), costs_money=True)
    folder = record(sweep, tmp_path / "run", None, "budget_spent")
    status = read_run(folder)[1]
    status.budget_usd, status.cost_usd, status.shortage = 100.0, 12.0, "No more money."
    status.write(folder)
    facts = read_status(folder)
    assert (facts["cost_usd"], facts["run_cost_usd"], facts["budget_usd"]) == (60.0, 12.0, 100.0)
    assert [step["cost_usd"] for step in facts["steps"]] == [60.0, None]
    assert [cell["cost_usd"] for cell in facts["cells"]] == [60.0]
    text = shown(facts)
    assert "budget spent. 20 of 20 requests done" in text
    assert "$60.00 of $100.00." in text
    assert "cost $" in text
    assert "No more money." in text


def test_without_prices_nobody_reads_of_costs(sweep: PlannedSweep, tmp_path: Path) -> None:
    facts = read_status(record(sweep, tmp_path / "run", None))
    assert facts["cost_usd"] is facts["run_cost_usd"] is facts["shortage"] is None
    assert "$" not in shown(facts)


def test_report_says_what_all_requests_cost(sweeps: Sweeps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(engine=PAID))
    sweeps.ask(sweep, EchoEngine(EchoSection.model_validate({"kind": "echo"} | PAID)), costs_money=True)
    folder = record(sweep, tmp_path / "run", None)
    report([str(folder)])
    assert "All requests together cost $60.00." in capsys.readouterr().out
    report([str(folder)], as_json=True)
    assert json.loads(capsys.readouterr().out)["cost_usd"] == 60.0


def test_a_run_that_waits_says_for_what_and_one_that_has_ended_does_not(
    sweep: PlannedSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = record(sweep, tmp_path / "run", None, "running")
    _, status, _ = read_run(folder)
    counts = RunProgress(sweep.plan, sweep.work)
    writer = StatusWriter(status, folder)
    status.updated_at = 0.0
    writer.update(counts.snapshot([], [Wait("connection refused by [b]127.0.0.1:1", 35.0, 1800.0)]))
    facts = read_status(folder)
    line = "waiting: connection refused by [b]127.0.0.1:1 for 35 s of 1800 s"
    assert facts["waits"] == [line]
    console = Console(width=200, record=True)
    console.print(*render_status(facts))
    assert line in console.export_text()
    monkeypatch.setattr(status, "state", "finished")
    status.write(folder)
    assert read_status(folder)["waits"] == []


def test_another_shell_sees_the_last_lines_of_a_run_that_goes_on_or_went_wrong(
    sweep: PlannedSweep, tmp_path: Path
) -> None:
    states: dict[RunState, bool] = {"running": True, "failed": True, "finished": False}
    for state, is_shown in states.items():
        folder = record(sweep, tmp_path / state, [], state)
        (folder / LOG_FILE).write_text("".join(f"2026-11-29 20:00:00 INFO line [b]{one}\n" for one in range(2000)))
        facts = read_status(folder)
        assert facts["log"] == str(folder / LOG_FILE)
        console = Console(width=200, record=True, markup=False)
        for part in render_status(facts):
            console.print(part)
        shown = console.export_text()
        assert ("2026-11-29 20:00:00 INFO line [b]1999" in shown) is is_shown
        assert "line [b]1991" not in shown
    assert read_status(record(sweep, tmp_path / "early", [], "running"))["log_tail"] == []

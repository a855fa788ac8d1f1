"""Cells that cannot run here: planned with their reason, left out of the run, shown wherever the others are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from read_back import export_run, read_status
from recording_tracker import ONLINE, RecordingTracker
from rich.console import Console
from test_tracked_cells import tell

from eibench_ray.benchmarks.eibench.claim_check import verify_run
from eibench_ray.benchmarks.eibench.claims import Claim, ClaimStatus
from eibench_ray.config.schema import ModelConfig, SettingConfig
from eibench_ray.errors import PlanError
from eibench_ray.estimate.plan_json import plan_to_json
from eibench_ray.estimate.plan_page import render_plan
from eibench_ray.plan.blockers import describe_blocked
from eibench_ray.report.leaderboard import render_markdown, render_table
from eibench_ray.report.leaderboard_files import to_frame, to_json_rows
from eibench_ray.runs.compare_run import compare_runs
from eibench_ray.runs.results import open_run, score_run
from eibench_ray.runs.run_record import new_manifest, new_status, read_run, write_manifest
from eibench_ray.runs.status_page import render_status

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.config.schema import RunConfig
    from eibench_ray.runs.planning import PlannedSweep


CAPTIONED = {
    "name": "captioned",
    "calls": [
        {"name": "caption", "role": "captioner", "image": True, "prompt": "Describe."},
        {"name": "answer", "role": "subject", "image": True, "prompt": "{{ caption }} {{ question }}"},
    ],
}


@pytest.fixture(autouse=True)
def _dataset(sweeps: Sweeps) -> None:
    sweeps.write_dataset()


def otter(sweeps: Sweeps) -> dict[str, Any]:
    """A model whose answers were recorded, or will be, in the folder `recorded`."""
    engine = {"kind": "replay", "predictions": str(sweeps.folder / "recorded")}
    return {"name": "otter", "engine": engine, "sees_image": True}


def record_answers(sweeps: Sweeps, setting: str = "plain") -> None:
    folder = sweeps.folder / "recorded"
    folder.mkdir(exist_ok=True)
    lines = (json.dumps({f"faces/{number}.png": f"sun {number}"}) for number in range(10))
    (folder / f"faces.{setting}.jsonl").write_text("\n".join(lines))


def paid_judge(sweeps: Sweeps, **model: Any) -> RunConfig:
    """A cell whose judge needs a key."""
    endpoint = {"kind": "openai", "endpoint": "x", "base_url": "https://x.test/v1", "model": "m"}
    return sweeps.config(judge="paid", judge_engine=endpoint | {"api_key_env": "BLOCKED_TEST_KEY"}, model=model)


def reason(sweeps: Sweeps, setting: str = "plain") -> str:
    return f"otter: no recorded predictions: {sweeps.folder}/recorded/faces.{setting}.jsonl"


def blocked(sweep: PlannedSweep) -> Mapping[str, str]:
    return {cell.name: cell.blocked for cell in sweep.plan.cells if cell.blocked}


def test_a_cell_without_recorded_answers_is_planned_and_left_out(sweeps: Sweeps) -> None:
    sweep = sweeps.plan(sweeps.config(), sweeps.config(model=otter(sweeps)))
    assert blocked(sweep) == {"otter/plain/faces/strict": reason(sweeps)}
    runnable = sweep.runnable()
    assert [cell.name for cell in runnable.plan.cells] == ["echo/plain/faces/strict"]
    assert {spec.name for spec in runnable.plan.engines.values()} == {"echo"}
    assert len(runnable.plan.steps) == len(runnable.work) == 2
    assert sweep.plan.num_requests == 2 * runnable.plan.num_requests
    sweep.check_runnable()


def test_once_the_recording_is_there_the_cell_runs(sweeps: Sweeps) -> None:
    configs = [sweeps.config(), sweeps.config(model=otter(sweeps))]
    sweeps.ask(sweeps.plan(*configs).runnable())
    assert sweeps.plan(*configs).runnable().is_complete
    record_answers(sweeps)
    sweep = sweeps.plan(*configs)
    assert not blocked(sweep)
    assert [sweep.plan.engines[sweep.plan.steps[step].engine].name for step in sweep.work if sweep.work[step].todo] == [
        "otter",
        "echo",
    ]


def test_a_key_blocks_the_cells_of_its_judge_and_they_stay_the_same_cells(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BLOCKED_TEST_KEY", raising=False)
    before = sweeps.plan(sweeps.config(), paid_judge(sweeps))
    assert blocked(before) == {"echo/plain/faces/paid": "paid_model: no key: BLOCKED_TEST_KEY"}
    # The answers are those of the other cell too: they are asked for it.
    answer = {cell.answer for cell in before.plan.cells}
    assert len(answer) == 1
    assert answer < before.runnable().plan.steps.keys()
    monkeypatch.setenv("BLOCKED_TEST_KEY", "k")
    after = sweeps.plan(sweeps.config(), paid_judge(sweeps))
    assert not blocked(after)
    assert [cell.key for cell in after.plan.cells] == [cell.key for cell in before.plan.cells]


def captioned(sweeps: Sweeps, captioner: Mapping[str, Any], **model: Any) -> RunConfig:
    """A cell whose answers read a caption."""
    return sweeps.config(model=model, setting="plain").model_copy(
        update={"setting": SettingConfig.model_validate(CAPTIONED), "captioner": ModelConfig.model_validate(captioner)}
    )


def test_a_blocked_captioner_blocks_who_reads_it(sweeps: Sweeps) -> None:
    sweep = sweeps.plan(sweeps.config(), captioned(sweeps, otter(sweeps)))
    assert blocked(sweep) == {"echo/captioned/faces/strict": reason(sweeps, "captioned")}
    assert [step.name for step in sweep.runnable().plan.steps.values()] == ["answer", "verdict"]


def test_a_caption_that_others_read_too_is_made(sweeps: Sweeps) -> None:
    captioner = {"name": "describer", "engine": {"kind": "echo"}, "sees_image": True}
    sweep = sweeps.plan(captioned(sweeps, captioner), captioned(sweeps, captioner, **otter(sweeps)))
    assert list(blocked(sweep)) == ["otter/captioned/faces/strict"]
    assert [step.name for step in sweep.runnable().plan.steps.values()] == ["caption", "answer", "verdict"]


def test_what_the_store_has_needs_neither_key_nor_recording(sweeps: Sweeps) -> None:
    record_answers(sweeps)
    sweep = sweeps.plan(sweeps.config(model=otter(sweeps)))
    sweeps.ask(sweep)
    [answer] = [cell.answer for cell in sweep.plan.cells]
    assert sweeps.plan(sweeps.config(model=otter(sweeps))).work[answer].todo == ()
    assert not blocked(sweeps.plan(sweeps.config(model=otter(sweeps))))


def test_a_sweep_of_blocked_cells_is_refused_with_all_reasons(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLOCKED_TEST_KEY", raising=False)
    configs = [sweeps.config(setting, model=otter(sweeps)) for setting in ("plain", "brief")]
    sweep = sweeps.plan(*configs, paid_judge(sweeps))
    with pytest.raises(PlanError) as caught:
        sweep.check_runnable()
    folder = sweeps.folder / "recorded"
    assert str(caught.value) == (
        f"nothing of this sweep can run. 2 cells blocked: no recorded predictions: {folder}/faces.plain.jsonl, "
        f'{folder}/faces.brief.jsonl (otter): put lines of {{path: text}} or {{"id": ..., "answer": ...}} there, or '
        "set its engine.predictions to another folder. 1 cell blocked: no key: BLOCKED_TEST_KEY (paid_model): export "
        "the key under that name"
    )


def test_many_files_are_told_in_one_line(sweeps: Sweeps) -> None:
    engine = otter(sweeps)["engine"]
    models = [
        {"name": f"m{number}", "engine": engine | {"predictions": f"/{number}"}, "sees_image": True}
        for number in range(3)
    ]
    cells = [sweeps.config(setting, model=model) for model in models for setting in ("plain", "brief")]
    [line] = describe_blocked(sweeps.plan(*cells).plan.cells)
    assert line.startswith(
        "6 cells blocked: no recorded predictions: /0/faces.plain.jsonl, /0/faces.brief.jsonl, /1/faces.plain.jsonl "
        "and 3 more (m0, m1, m2): put lines of {path: text} or"
    )


@pytest.fixture
def half(sweeps: Sweeps) -> PlannedSweep:
    """A sweep of two cells, one of them blocked, after its run."""
    configs = [sweeps.config(), sweeps.config(model=otter(sweeps))]
    sweeps.ask(sweeps.plan(*configs).runnable())
    return sweeps.plan(*configs)


def show(*parts: Any) -> str:
    console = Console(width=110)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get()


def test_a_plan_says_what_a_run_leaves_out(sweeps: Sweeps, half: PlannedSweep) -> None:
    facts = plan_to_json(half.plan, half.work, "store", [])
    assert [cell["blocked"] for cell in facts["cells"]] == [None, reason(sweeps)]
    assert (facts["blocked"]["cells"], facts["blocked"]["requests"]) == (1, 20)
    text = " ".join(show(*render_plan(half.plan, half.work, "store", [], is_full=True)).split())
    assert "Blocked 1 of 2 cells, 20 requests: a run leaves them out" in text
    assert "1 cell blocked: no recorded predictions: " in text


def test_the_leaderboard_names_them_without_figures(sweeps: Sweeps, half: PlannedSweep) -> None:
    rows = score_run(new_manifest(half.plan, Path("run"), half.config.store, half.config.score), half.store)
    by_model = {row["model"]: row for row in to_json_rows(rows)}
    assert by_model["otter"]["blocked"] == reason(sweeps)
    assert by_model["otter"]["value"] is None
    assert by_model["echo"]["blocked"] is None
    assert to_frame(rows).filter(pl.col("blocked").is_not_null())["model"].to_list() == ["otter"]
    assert "otter" not in show(render_table(rows))
    table, _, listed = render_markdown(rows).partition("## Blocked")
    assert "otter" not in table
    assert f"| otter | plain   | faces   | strict | {reason(sweeps)}" in listed


def test_a_blocked_cell_with_some_verdicts_keeps_them_and_is_marked(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOCKED_TEST_KEY", "k")
    sweeps.ask(sweeps.plan(paid_judge(sweeps)))
    monkeypatch.delenv("BLOCKED_TEST_KEY")
    assert not blocked(sweeps.plan(paid_judge(sweeps)))
    sweeps.write_dataset(range(12))
    sweep = sweeps.plan(paid_judge(sweeps))
    assert blocked(sweep)
    [row] = score_run(new_manifest(sweep.plan, Path("run"), sweep.config.store, sweep.config.score), sweep.store)
    assert (row.score.overall.num_scored, row.score.overall.n) == (10, 12)
    text = show(render_table([row]))
    assert "echo (made up) (blocked)" in text
    assert "(blocked): what is missing cannot be asked here" in text


def test_claims_on_them_are_unverified_for_their_reason(sweeps: Sweeps, half: PlannedSweep) -> None:
    claim = Claim("faces", "plain", "otter", "strict", "overall", Decimal("50.00"), 10, "Otter", "a test")
    manifest = new_manifest(half.plan, Path("run"), half.config.store, half.config.score)
    [checked] = verify_run(open_run(manifest, half.store), [claim], 5.0).checked
    assert checked.status is ClaimStatus.UNVERIFIED
    assert f"blocked: {reason(sweeps)}" in checked.reason
    assert "no verdict" not in checked.reason


def record_run(sweep: PlannedSweep, folder: Path) -> Path:
    folder.mkdir()
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    status = new_status(manifest, sweep.store)
    status.state = "finished"
    status.write(folder)
    return folder


def test_a_status_tells_them_apart_from_what_is_left(sweeps: Sweeps, half: PlannedSweep) -> None:
    facts = read_status(record_run(half, sweeps.folder / "run"))
    assert [cell["blocked"] for cell in facts["cells"]] == [None, reason(sweeps)]
    assert "1 cell blocked: no recorded predictions" in " ".join(show(*render_status(facts)).split())


def test_an_export_marks_their_rows_and_writes_no_answers_for_them(sweeps: Sweeps, half: PlannedSweep) -> None:
    out = sweeps.folder / "out"
    counts = export_run(record_run(half, sweeps.folder / "run"), out)
    assert {name: counts[name] for name in ("cells", "cells_blocked", "rows")} == {
        "cells": 2,
        "cells_blocked": 1,
        "rows": 20,
    }
    rows = pl.scan_parquet(out / "rows", hive_partitioning=True).collect()
    assert set(rows.filter(pl.col("model") == "otter")["score_status"]) == {"blocked"}
    assert [path.name for path in sorted((out / "eibench").iterdir())] == [
        "echo.plain.faces.strict.answers.jsonl",
        "echo.plain.faces.strict.judgements.jsonl",
    ]


def test_they_are_compared_with_nothing_and_take_no_time(sweeps: Sweeps, half: PlannedSweep) -> None:
    folder = record_run(half, sweeps.folder / "run")
    assert len(read_status(folder)["gpu_time"]["cells"]) == 1
    manifest, _, store = read_run(folder)
    assert compare_runs([(manifest, store)], ["model"]).pairs == ()


def test_the_tracker_is_told_in_the_sweeps_leaderboard(half: PlannedSweep, sweeps: Sweeps) -> None:
    tracker = RecordingTracker(ONLINE)
    tell(half, tracker)
    [(_, final)] = tracker.sweeps
    assert (final.scores["cells"], final.scores["cells_blocked"]) == (2, 1)
    board = final.tables["leaderboard"]
    rows = [dict(zip(board.columns, row, strict=True)) for row in board.rows]
    assert {row["model"]: row["blocked"] for row in rows} == {"echo": None, "otter": reason(sweeps)}

"""Coherence on its way through a sweep: asked, resumed, joined, scored, shown and exported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from coherence_judge import COHERENCE
from read_back import export_run
from rich.console import Console

from eibench_ray.engines.engine import RowError
from eibench_ray.report.leaderboard import render_markdown, render_table
from eibench_ray.report.leaderboard_files import to_frame, to_json_rows
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest
from eibench_ray.runs.tracked_cells import flat_scores

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.config.schema import RunConfig
    from eibench_ray.report.leaderboard_row import LeaderboardRow
    from eibench_ray.runs.planning import PlannedSweep

FAILS, SHORT = "s001", "s002"


def say(request: Request) -> str:
    """An answer of two sentences, of one for SHORT and none for FAILS; a verdict; a coherence."""
    if request.json_schema:
        return json.dumps({"correct": 1, "total": request.json_schema["properties"]["correct"]["maximum"]})
    if request.user.startswith("Look."):
        if request.sample_id == FAILS:
            raise RowError(RowErrorKind.PROMPT, "refused")
        return "One." if request.sample_id == SHORT else f"She is {request.sample_id}. It is so."
    sentences = request.user.count(".")
    coherence = int(request.sample_id[1:]) / 10 if sentences > 1 else None
    return json.dumps({"sentences": sentences, "coherence": coherence})


def measurements(engine: Scripted) -> list[Request]:
    return [request for request in engine.requests if request.sampling.max_tokens == 1]


@pytest.fixture
def configs(sweeps: Sweeps) -> list[RunConfig]:
    """The same answers, judged and measured."""
    sweeps.write_dataset()
    return [sweeps.config(), sweeps.config(judge=COHERENCE)]


@pytest.fixture
def asked(sweeps: Sweeps, scripted: type[Scripted], configs: list[RunConfig]) -> PlannedSweep:
    sweep = sweeps.plan(*configs)
    sweeps.ask(sweep, scripted(say))
    return sweep


def lines(sweep: PlannedSweep) -> list[LeaderboardRow]:
    """The judged row, and the measured one."""
    results = Results(sweep.plan, sweep.store)
    return [results.score(cell, sweep.config.score) for cell in sweep.plan.cells]


def test_the_answer_is_what_is_measured(sweeps: Sweeps, scripted: type[Scripted], configs: list[RunConfig]) -> None:
    engine = scripted(say)
    sweep = sweeps.plan(*configs)
    sweeps.ask(sweep, engine)
    assert {request.user for request in measurements(engine)} == {
        row.text for row in sweeps.rows(sweep, "answer").values() if row.error_kind is None
    }
    [step] = sweep.plan.cells[1].verdicts
    assert sweep.store.read_rows(step, 0, [FAILS])[FAILS].error_kind == "upstream"


def test_a_cell_is_scored_with_its_coverage(asked: PlannedSweep) -> None:
    judged, row = lines(asked)
    coherence, sentences = row.score.metrics
    assert (coherence.metric.name, coherence.overall.n, coherence.overall.num_scored) == ("coherence", 10, 8)
    assert coherence.overall.value == pytest.approx(sum([0, 3, 4, 5, 6, 7, 8, 9]) / 80)
    assert (sentences.overall.num_scored, sentences.overall.value) == (9, pytest.approx(17 / 9))
    assert row.score.statuses == {"ok": 8, "not_applicable": 1, "no_answer": 1}
    assert (row.score.num_unparsed, row.errors) == (0, 2)  # the answer, and the row that reads it
    assert (judged.score.metric.name, judged.score.overall.num_scored) == ("recall", 9)
    # Cosines lie between -1 and 1.
    assert coherence.overall.bound_low == pytest.approx((4.2 - 2) / 10)
    assert coherence.overall.bound_high == pytest.approx((4.2 + 2) / 10)


def test_every_table_shows_each_metric_in_its_own_unit(asked: PlannedSweep) -> None:
    judged, row = lines(asked)
    markdown = render_markdown([judged, row])
    assert re.search(r"\| coherence +\| +0\.5\d \| 0\.\d\d to 0\.\d\d \| +80.0 \|", markdown)
    assert re.search(r"\| recall % +\| +\d\d \|", markdown)  # whole points of 10 samples
    assert "| sentences per answer |" in markdown
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(render_table([judged, row]))
    for words in ("0.5", "faces judged by coherence", "faces judged by strict", "1.9"):
        assert words in captured.get()
    values = {one["judge"]: one for one in to_json_rows([judged, row])}
    assert values["coherence"]["value"] == values["coherence"]["metrics"]["coherence"]["value"] == pytest.approx(0.525)
    low, high = values["coherence"]["ci95"]
    assert low < 0.525 < high
    assert values["coherence"]["metrics"]["sentences"]["bounds"] == [pytest.approx(1.7), None]
    assert "metrics" not in values["strict"]
    frame = to_frame([judged, row])
    assert frame.select("metric", "value", "metric_sentences").rows() == [
        ("coherence", pytest.approx(0.525), pytest.approx(17 / 9)),
        ("recall", judged.score.overall.value, None),
    ]
    assert flat_scores(row)["coherence"] == pytest.approx(0.525)
    assert flat_scores(row)["sentences_coverage"] == 0.9
    assert "coherence" not in flat_scores(judged)


def test_what_a_killed_run_has_stored_is_not_asked_again(
    asked: PlannedSweep, sweeps: Sweeps, scripted: type[Scripted], configs: list[RunConfig]
) -> None:
    before, [step] = lines(asked), asked.plan.cells[1].verdicts
    asked.store.paths.slice(step, 1).unlink()  # as a kill before its commit leaves it
    again, engine = sweeps.plan(*configs), scripted(say)
    assert {name: len(left.todo) for name, left in again.work.items() if left.todo} == {step: 1}
    sweeps.ask(again, engine)
    assert [request.sample_id for request in engine.requests] == ["s004", "s005", "s006", "s007"]
    assert lines(again) == before
    assert sweeps.plan(*configs).is_complete


def test_measuring_afterwards_asks_no_model_again(
    sweeps: Sweeps, scripted: type[Scripted], configs: list[RunConfig]
) -> None:
    sweeps.ask(sweeps.plan(configs[0]), scripted(say))
    sweep, engine = sweeps.plan(*configs), scripted(say)
    assert [sweep.plan.engines[key].name for key in sweep.engines_to_load()] == ["minilm"]
    sweeps.ask(sweep, engine)
    assert len(engine.requests) == len(measurements(engine)) == 9


@pytest.mark.usefixtures("asked")
def test_an_answer_that_changed_is_measured_anew(
    sweeps: Sweeps, scripted: type[Scripted], configs: list[RunConfig]
) -> None:
    sweeps.write_dataset(questions={3: "and now?"})
    engine = scripted(lambda request: "Quite. Another. Answer." if request.user.startswith("Look.") else say(request))
    sweep = sweeps.plan(*configs)
    sweeps.ask(sweep, engine)
    sweeps.ask(sweeps.plan(*configs), engine)
    assert [request.user for request in measurements(engine)] == ["Quite. Another. Answer."]


def test_rows_are_exported_with_their_coherence(asked: PlannedSweep, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    manifest = new_manifest(asked.plan, folder, asked.config.store, asked.config.score)
    write_manifest(manifest, asked.store)
    new_status(manifest, asked.store).write(folder)
    export_run(folder, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "rows", hive_partitioning=True).filter(pl.col("judge") == "coherence")
    columns = (
        rows.head(4).select("metric", "score", "score_status", "reply_error_kind", "scores").to_dict(as_series=False)
    )
    assert columns["metric"] == ["coherence"] * 4
    assert columns["score"] == [0.0, None, None, 0.3]
    assert columns["score_status"] == ["ok", "no_answer", "not_applicable", "ok"]
    assert columns["reply_error_kind"] == [None, "upstream", None, None]
    assert [values and json.loads(values) for values in columns["scores"]] == [
        {"coherence": 0.0, "sentences": 2.0},
        None,
        {"sentences": 1.0},
        {"coherence": 0.3, "sentences": 2.0},
    ]

"""Coherence on its way through a sweep: asked, resumed, joined, scored, shown and exported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from read_back import export_run
from rich.console import Console

from eibench_ray.benchmarks.eibench.coherence_scorer import Coherence
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

MEASURE = {
    "name": "minilm",
    "engine": {"kind": "embedding", "source": "checkpoint:minilm", "pooling": "mean", "splitter": "sentencizer"},
}
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
    return Coherence(sentences, int(request.sample_id[1:]) / 10 if sentences > 1 else None).to_text()


def coherence_requests(engine: Scripted) -> list[Request]:
    return [request for request in engine.requests if request.sampling.max_tokens == 1]


@pytest.fixture
def config(sweeps: Sweeps) -> RunConfig:
    sweeps.write_dataset()
    return sweeps.config(coherence=MEASURE)


@pytest.fixture
def asked(sweeps: Sweeps, scripted: type[Scripted], config: RunConfig) -> PlannedSweep:
    sweep = sweeps.plan(config)
    sweeps.ask(sweep, scripted(say))
    return sweep


def line(sweep: PlannedSweep) -> LeaderboardRow:
    return Results(sweep.plan, sweep.store).score(sweep.plan.cells[0], sweep.config.score)


def test_the_answer_is_what_is_measured(sweeps: Sweeps, scripted: type[Scripted], config: RunConfig) -> None:
    engine = scripted(say)
    sweep = sweeps.plan(config)
    sweeps.ask(sweep, engine)
    assert {request.user for request in coherence_requests(engine)} == {
        row.text for row in sweeps.rows(sweep, "answer").values() if row.error_kind is None
    }
    assert sweeps.rows(sweep, "coherence")[FAILS].error_kind == "upstream"


def test_a_cell_is_scored_with_its_coverage(asked: PlannedSweep) -> None:
    row = line(asked)
    assert row.coherence is not None
    assert (row.coherence.measure, row.coherence.n, row.coherence.num_measured) == ("minilm", 10, 8)
    assert row.coherence.coherence == pytest.approx(sum([0, 3, 4, 5, 6, 7, 8, 9]) / 80)
    assert row.coherence.sentences == pytest.approx(17 / 9)
    assert row.errors == 3  # the answer, and the two rows that read it
    assert row.score.overall.num_scored == 9


def test_every_table_shows_it_and_only_where_it_was_measured(asked: PlannedSweep, sweeps: Sweeps) -> None:
    row = line(asked)
    bare = line(sweeps.plan(sweeps.config()))
    assert bare.coherence is None
    markdown = render_markdown([row])
    assert "coherence 95% CI" in markdown
    assert re.search(r"\| 0\.525 0\.3\d\d-0\.7\d\d \| +8 \|", markdown)
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(render_table([row]))
    assert "0.525" in captured.get()
    assert "coherence" not in render_markdown([bare])
    [values] = to_json_rows([row])
    assert values["coherence"]["coherence"] == pytest.approx(0.525)
    low, high = values["coherence"]["ci95"]
    assert low < 0.525 < high
    assert (values["coherence"]["coverage"], values["coherence"]["measure"]) == (0.8, "minilm")
    assert to_json_rows([bare])[0]["coherence"] is None
    assert to_frame([row, bare])["coherence"].to_list() == [pytest.approx(0.525), None]
    assert flat_scores(row)["coherence"] == pytest.approx(0.525)
    assert "coherence" not in flat_scores(bare)


def test_what_a_killed_run_has_stored_is_not_asked_again(
    asked: PlannedSweep, sweeps: Sweeps, scripted: type[Scripted], config: RunConfig
) -> None:
    before, cell = line(asked), asked.plan.cells[0]
    assert cell.coherence is not None
    asked.store.paths.slice(cell.coherence, 1).unlink()  # as a kill before its commit leaves it
    again, engine = sweeps.plan(config), scripted(say)
    assert {step: len(left.todo) for step, left in again.work.items() if left.todo} == {cell.coherence: 1}
    sweeps.ask(again, engine)
    assert [request.sample_id for request in engine.requests] == ["s004", "s005", "s006", "s007"]
    assert line(again) == before
    assert sweeps.plan(config).is_complete


def test_measuring_afterwards_asks_no_model_again(sweeps: Sweeps, scripted: type[Scripted], config: RunConfig) -> None:
    sweeps.ask(sweeps.plan(sweeps.config()), scripted(say))
    sweep, engine = sweeps.plan(config), scripted(say)
    assert [sweep.plan.engines[key].name for key in sweep.engines_to_load()] == ["minilm"]
    sweeps.ask(sweep, engine)
    assert len(engine.requests) == len(coherence_requests(engine)) == 9


@pytest.mark.usefixtures("asked")
def test_an_answer_that_changed_is_measured_anew(sweeps: Sweeps, scripted: type[Scripted], config: RunConfig) -> None:
    sweeps.write_dataset(questions={3: "and now?"})
    engine = scripted(lambda request: "Quite. Another. Answer." if request.user.startswith("Look.") else say(request))
    sweep = sweeps.plan(config)
    sweeps.ask(sweep, engine)
    sweeps.ask(sweeps.plan(config), engine)
    assert [request.user for request in coherence_requests(engine)] == ["Quite. Another. Answer."]


def test_rows_are_exported_with_their_coherence(asked: PlannedSweep, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    manifest = new_manifest(asked.plan, folder, asked.config.store, asked.config.score)
    write_manifest(manifest, asked.store)
    new_status(manifest, asked.store).write(folder)
    export_run(folder, tmp_path / "out")
    rows = pl.read_parquet(next((tmp_path / "out" / "rows").rglob("rows.parquet")))
    columns: dict[str, list[Any]] = rows.select("coherence", "sentences", "coherence_error_kind").to_dict(
        as_series=False
    )
    assert columns["coherence"][:4] == [0.0, None, None, 0.3]
    assert columns["sentences"][:4] == [2, None, 1, 2]
    assert columns["coherence_error_kind"][:4] == [None, "upstream", None, None]

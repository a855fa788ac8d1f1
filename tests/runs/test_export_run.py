"""Export: what is written can be read by polars, and replayed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from read_back import export_run, read_status

from eibench_ray.benchmarks.eibench.official_scorer import read_judgements, score_official
from eibench_ray.config.engine_section import PriceSection
from eibench_ray.config.schema import JudgeConfig
from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.engines.replay import ReplayEngine, ReplaySection
from eibench_ray.rows.request import Reply, Request
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest
from eibench_ray.worker.request_builder import RequestBuilder

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.runs.planning import PlannedSweep

# Text that line-splitting, JSON and CSV readers stumble over.
ODD = 'She won.\u2028Then:\x85 "yes", \n\u00e9\U0001f382'


def record(sweep: PlannedSweep, folder: Path) -> Path:
    """The folder of a run that has ended, as `run` leaves it."""
    manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
    write_manifest(manifest, sweep.store)
    new_status(manifest, sweep.store).write(folder)
    return folder


def test_polars_reads_the_joined_rows_with_the_cells_as_columns(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("plain"), sweeps.config("brief"))
    sweeps.ask(sweep)
    counts = export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    rows = pl.scan_parquet(tmp_path / "out" / "rows", hive_partitioning=True).collect()
    assert counts["rows"] == rows.height == 20
    assert rows.group_by("setting").len().sort("setting").rows() == [("brief", 10), ("plain", 10)]
    assert rows["score_status"].unique().to_list() == ["ok"]
    assert rows["score"].null_count() == 0


def test_what_misleads_is_a_column_and_a_count(sweeps: Sweeps, tmp_path: Path) -> None:
    class Cut(EchoEngine):
        async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
            reply = await super().generate(request, images)
            if request.json_schema is not None:
                return reply
            return replace(reply, finish_reason="length") if request.sample_id < "s003" else replace(reply, text=" ")

    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(model={"name": "gpt"}))
    sweeps.ask(sweep, Cut(EchoSection(kind="echo")))
    folder = record(sweep, tmp_path / "run")
    counts = export_run(folder, tmp_path / "out")
    rows = pl.scan_parquet(tmp_path / "out" / "rows", hive_partitioning=True).sort("sample_id").collect()
    assert rows["answer_truncated"].to_list() == [True] * 3 + [False] * 7
    assert rows["answer_empty"].to_list() == [False] * 3 + [True] * 7
    assert (counts["answer_truncated"], counts["answer_empty"], counts["reply_truncated"]) == (3, 7, 0)
    assert set(rows["answer_source"]) == set(rows["judge_source"]) == {"made_up"}
    assert (counts["cells_partial"], counts["cells_made_up"]) == ([], ["gpt/plain/faces/strict"])
    status = read_status(folder)
    assert (status["truncated"], status["empty"]) == (3, 7)
    assert [(step["truncated"], step["empty"]) for step in status["steps"]] == [(3, 7), (0, 0)]


def test_a_cell_without_some_verdicts_is_exported_as_partial(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan(sweeps.config(limit=5)))
    counts = export_run(record(sweeps.plan(), tmp_path / "run"), tmp_path / "out")
    assert counts["cells_partial"] == ["echo/plain/faces/strict"]


def test_rows_are_counted_as_they_are_written_where_the_dataset_has_lost_some(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan())
    folder = record(sweeps.plan(), tmp_path / "run")
    sweeps.write_dataset(range(7))
    counts = export_run(folder, tmp_path / "out")
    assert counts["rows"] == pl.read_parquet(tmp_path / "out" / "rows" / "**" / "*.parquet").height == 7


def test_exported_answers_replay_as_they_were(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep, scripted(lambda request: f"{ODD} {request.sample_id}"))
    export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    (answers,) = (tmp_path / "out" / "eibench").glob("*.answers.jsonl")
    replay = ReplayEngine(ReplaySection(kind="replay", predictions=str(answers.parent)), str(answers))
    step = next(iter(sweep.plan.steps.values()))
    samples = open_dataset(str(sweeps.folder / "faces")).samples(0, 10)
    requests = [RequestBuilder(step).build(sample, {}) for sample in samples]

    async def replay_all() -> list[str]:
        await replay.start()
        return [(await replay.generate(request, ())).text for request in requests]

    assert asyncio.run(replay_all()) == [f"{ODD} {request.sample_id}" for request in requests]


def test_hits_stand_beside_their_triggers_and_are_tallied(
    sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path
) -> None:
    """The first trigger is always named, the second by one of two models, others never; s003's verdict is lost."""

    def say(request: Request) -> str:
        if request.json_schema is None:
            return "much" if request.system else "little"
        if request.sample_id == "s003":
            return "no verdict"
        numbers = request.json_schema["properties"]["named"]["required"]
        return json.dumps({"named": {n: n == "1" or (n == "2" and "much" in request.user) for n in numbers}})

    sweeps.write_dataset()
    judge = JudgeConfig.model_validate(sweeps.config().judge.model_dump() | {"verdict": "triggers"})
    models: list[dict[str, str]] = [{"name": "able", "system": "Be able."}, {"name": "dull"}]
    sweep = sweeps.plan(
        *(sweeps.config(model=model, judge_engine={}).model_copy(update={"judge": judge}) for model in models)
    )
    sweeps.ask(sweep, scripted(say))
    export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "rows", hive_partitioning=True).filter(pl.col("model") == "able")
    assert [named_in(details) for details in rows["details"].to_list()[:4]] == [
        [True, True],
        [True, True, False],
        [True, True, False, False],
        None,
    ]
    assert rows["score_status"].to_list()[3] == "unparsed"
    assert rows["score"].to_list()[:3] == [1, 2 / 3, 0.5]
    triggers = pl.read_parquet(tmp_path / "out" / "triggers", hive_partitioning=True)
    assert triggers.height == rows["target"].list.len().sum()
    assert triggers["trigger"].to_list() == rows["target"].explode().to_list()
    of_first = triggers.filter(pl.col("sample_id") == "s002").select("number", "trigger", "judged", "named").rows()
    assert of_first == [(1, "cause 2.0", 2, 2), (2, "cause 2.1", 2, 1), (3, "cause 2.2", 2, 0), (4, "cause 2.3", 2, 0)]
    assert triggers.filter(pl.col("sample_id") == "s003")["judged"].to_list() == [0, 0]
    assert {*triggers["dataset"], *triggers["judge"]} == {"faces", "strict"}


def named_in(details: str | None) -> list[bool] | None:
    """Which triggers a score says are named."""
    named: list[bool] | None = json.loads(details or "{}").get("targets_hit")
    return named


def test_no_triggers_are_tallied_where_judges_count(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    assert not (tmp_path / "out" / "triggers").exists()
    assert set(map(named_in, pl.read_parquet(tmp_path / "out" / "rows")["details"])) == {None}


def test_each_repeat_has_its_row_and_its_own_file(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    config = sweeps.config(judge="official")
    sweep = sweeps.plan(config.model_copy(update={"judge": config.judge.model_copy(update={"repeats": 3})}))
    sweeps.ask(sweep)
    counts = export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "rows")
    assert counts["rows"] == rows.height == 30
    assert rows["repeat"].to_list() == [1, 2, 3] * 10
    files = sorted(path.name for path in (tmp_path / "out" / "eibench").iterdir())
    stem = "echo.plain.faces.official"
    assert files == [f"{stem}.{kind}.jsonl" for kind in ("answers", "judgements.2", "judgements.3", "judgements")]
    for number, name in enumerate(("judgements", "judgements.2", "judgements.3"), start=1):
        lines = (tmp_path / "out" / "eibench" / f"{stem}.{name}.jsonl").read_text(encoding="utf-8").splitlines()
        replies = [reply for line in lines for reply in json.loads(line).values()]
        assert replies == rows.filter(pl.col("repeat") == number)["reply"].to_list()
        scores = score_official(read_judgements(tmp_path / "out" / "eibench" / f"{stem}.{name}.jsonl"))
        mean = rows.filter(pl.col("repeat") == number)["score"].mean()
        assert scores.average == pytest.approx(mean)


def test_what_a_sample_cost_counts_once_though_its_judge_repeats(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    config = sweeps.config(engine={"price": {"input": 1e6, "output": 0.0}})
    sweep = sweeps.plan(config.model_copy(update={"judge": config.judge.model_copy(update={"repeats": 2})}))
    sweeps.ask(sweep, EchoEngine(EchoSection(kind="echo", price=PriceSection(input=1e6, output=0.0))), costs_money=True)
    export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "rows")
    assert rows["cost_usd"].sum() == pytest.approx(sum(sweep.store.read_cost(step) for step in sweep.plan.steps))


def test_a_row_that_was_not_asked_yet_is_exported_as_missing(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan(sweeps.config(limit=4)))
    export_run(record(sweeps.plan(), tmp_path / "run"), tmp_path / "out")
    rows = pl.read_parquet(next((tmp_path / "out" / "rows").rglob("rows.parquet")))
    assert rows["score_status"].to_list() == ["ok"] * 4 + ["missing"] * 6


def test_rows_are_exported_with_what_they_cost(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    priced = {"price": {"input": 1e6, "output": 0.0}}  # a dollar per word of a prompt
    sweep = sweeps.plan(sweeps.config(engine=priced, judge_engine={"fails_on": "never"}))
    answer, verdict = sweep.plan.steps
    sweeps.ask(sweep, EchoEngine(EchoSection(kind="echo", price=PriceSection(input=1e6, output=0.0))), costs_money=True)
    rows = sweep.store.read_slice(verdict, 0)
    free = [replace(row, cost_usd=None, mean_logprob=-0.5) for row in rows.values()]
    sweep.store.write_slice(verdict, 0, free)
    export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    table = pl.read_parquet(next((tmp_path / "out" / "rows").rglob("rows.parquet")))
    assert table["answer_cost_usd"].to_list() == [6.0] * 10
    assert table["reply_cost_usd"].null_count() == 4
    assert table["cost_usd"].to_list()[:4] == [6.0] * 4
    assert table["cost_usd"].sum() == sweep.store.read_cost(answer) + sweep.store.read_cost(verdict)
    assert table["reply_mean_logprob"].to_list()[:5] == [-0.5] * 4 + [None]

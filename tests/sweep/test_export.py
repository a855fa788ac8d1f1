"""Export: what is written can be read by polars, and replayed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from eibench_ray.cluster.requests import Requests
from eibench_ray.config.endpoints import Price
from eibench_ray.config.engines import EchoEngine, ReplayEngine
from eibench_ray.data.dataset import open_dataset
from eibench_ray.engines.echo import Echo
from eibench_ray.engines.replay import Replay
from eibench_ray.sweep.export import export_run
from eibench_ray.sweep.record import new_manifest, new_status, write_manifest

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

    from eibench_ray.sweep.planning import PlannedSweep

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
    assert rows["status"].unique().to_list() == ["ok"]
    assert rows["recall"].null_count() == 0


def test_exported_answers_replay_as_they_were(sweeps: Sweeps, scripted: type[Scripted], tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep, scripted(lambda request: f"{ODD} {request.sample_id}"))
    export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    (answers,) = (tmp_path / "out" / "eibench").glob("*.answers.jsonl")
    replay = Replay(ReplayEngine(kind="replay", predictions=str(answers.parent)), str(answers))
    step = next(iter(sweep.plan.steps.values()))
    samples = open_dataset(str(sweeps.folder / "faces")).samples(0, 10)
    requests = [Requests(step).build(sample, {}) for sample in samples]

    async def replay_all() -> list[str]:
        await replay.start()
        return [(await replay.generate(request, None)).text for request in requests]

    assert asyncio.run(replay_all()) == [f"{ODD} {request.sample_id}" for request in requests]


def test_a_row_that_was_not_asked_yet_is_exported_as_missing(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan(sweeps.config(limit=4)))
    export_run(record(sweeps.plan(), tmp_path / "run"), tmp_path / "out")
    rows = pl.read_parquet(next((tmp_path / "out" / "rows").rglob("rows.parquet")))
    assert rows["status"].to_list() == ["ok"] * 4 + ["missing"] * 6


def test_rows_are_exported_with_what_they_cost(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset()
    priced = {"price": {"input": 1e6, "output": 0.0}}  # a dollar per word of a prompt
    sweep = sweeps.plan(sweeps.config(engine=priced, judge_engine={"fails_on": "never"}))
    answer, verdict = sweep.plan.steps
    sweeps.ask(sweep, Echo(EchoEngine(kind="echo", price=Price(input=1e6, output=0.0))), costs_money=True)
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

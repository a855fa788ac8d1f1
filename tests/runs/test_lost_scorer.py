"""A scorer whose file is gone costs its own cells: others are reported, and the reason stands beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from test_export_run import record

from eibench_ray.report.leaderboard import render_markdown
from eibench_ray.report.leaderboard_files import to_json_rows
from eibench_ray.runs.export_run import export_rows
from eibench_ray.runs.find_run import find_run
from eibench_ray.runs.results import score_run
from eibench_ray.scoring import scorer_registry

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Sweeps

TERSE = """
from dataclasses import dataclass
from eibench_ray.scoring.scorer import Metric, Score, Scorer

@dataclass(frozen=True)
class Terse(Scorer):
    metrics = (Metric("terse", is_binary=True),)

    def read(self, sample, answer, reply):
        return Score(sample.sample_id, {"terse": 1.0})
"""


def test_a_scorer_that_is_gone_costs_its_cells(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset(range(3))
    file = tmp_path / "lost_terse.py"
    file.write_text(TERSE)
    scorer_registry.add_scorer_files({"lost_terse": str(file)})
    judges = ({"name": "mine", "kind": "lost_terse"}, {"name": "theirs", "kind": "includes"})
    sweep = sweeps.plan(*(sweeps.config(judge=judge) for judge in judges))
    sweeps.ask(sweep)
    found = find_run(str(record(sweep, tmp_path / "run")))
    rows = {row.judge: row for row in score_run(found.manifest, found.store)}
    assert (rows["mine"].score.overall.value, rows["mine"].failed) == (1.0, None)

    file.unlink()
    scorer_registry._load.cache_clear()
    rows = {row.judge: row for row in score_run(found.manifest, found.store)}
    assert rows["theirs"].failed is None
    assert rows["theirs"].score.overall.num_scored == 3
    assert rows["mine"].score.overall.num_scored == 0
    assert (rows["mine"].failed or "").startswith("scorer missing: the scorer 'lost_terse' cannot be loaded")
    assert str(file) in render_markdown(list(rows.values()))
    assert {row["judge"]: row["value"] for row in to_json_rows(rows.values())} == {"mine": None, "theirs": 0.0}
    export_rows(found.manifest, found.store, tmp_path / "out")
    exported = pl.read_parquet(tmp_path / "out" / "rows")
    assert exported.filter(pl.col("judge") == "mine")["answer"].null_count() == 0

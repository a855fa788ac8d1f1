"""Thinking is a column of its own, and nothing reads it: no later call, no list, no judge, no scorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq
import pytest
from read_back import export_run
from recording_tracker import ONLINE, RecordingTracker
from test_export_run import record
from test_tracked_cells import tell

from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.report.leaderboard_notes import notes_of
from eibench_ray.rows.request import Reply, Request
from eibench_ray.runs.results import Results
from eibench_ray.runs.tracked_cells import flat_scores
from eibench_ray.store.slice_format import decode_rows

if TYPE_CHECKING:
    from conftest import Sweeps

THOUGHT = "1. A secret thought.\n2. Another one."


class Thinker(EchoEngine):
    """Answers two lines and thinks others; on some questions its limit ends it within the thinking."""

    def __init__(self, *cut_on: str) -> None:
        super().__init__(EchoSection(kind="echo"))
        self.asked: list[str] = []
        self._cut_on = cut_on

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        self.asked.append(f"{request.system or ''}\n{request.user}")
        reply = await super().generate(request, images)
        text = reply.text if request.json_schema else f"1. {reply.text}\n2. And so on."
        if any(word in request.user for word in self._cut_on):
            return replace(reply, text="", finish_reason="length", thinking=THOUGHT, thinking_tokens=5)
        return replace(reply, text=text, thinking=THOUGHT, thinking_tokens=2)


@pytest.mark.parametrize("setting", ["plain", "noted", "asking"])
def test_no_request_holds_what_was_thought(sweeps: Sweeps, setting: str) -> None:
    sweeps.write_dataset(range(4))
    sweep, thinker = sweeps.plan(sweeps.config(setting)), Thinker()
    sweeps.ask(sweep, thinker)
    assert len(thinker.asked) == 4 * len(sweep.plan.steps)
    assert not [text for text in thinker.asked if "secret" in text]
    for step in sweep.plan.steps:
        rows = sweep.store.read_slice(step, 0).values()
        assert {(row.thinking, row.thinking_tokens) for row in rows} == {(THOUGHT, 2)}


def test_thinking_is_exported_in_columns_of_its_own(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.write_dataset(range(4))
    sweep = sweeps.plan()
    sweeps.ask(sweep, Thinker())
    export_run(record(sweep, tmp_path / "run"), tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "rows")
    for who in ("answer", "reply"):
        assert rows[f"{who}_thinking"].to_list() == [THOUGHT] * 4
        assert rows[f"{who}_thinking_tokens"].to_list() == [2] * 4
        assert not rows[who].str.contains("secret").any()


def test_a_limit_within_the_thinking_is_counted_and_explained(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(4), questions={0: "why sun?", 1: "why sun?"})
    sweep = sweeps.plan()
    sweeps.ask(sweep, Thinker("Look. why sun?"))
    [row] = [Results(sweep.plan, sweep.store).score(cell, sweep.config.score) for cell in sweep.plan.cells]
    assert (row.truncated, row.empty, row.cut_while_thinking) == (2, 2, 2)
    assert flat_scores(row)["cut_while_thinking"] == 2
    assert any("cut while thinking: empty answers" in note for note in notes_of([row]))


@pytest.mark.parametrize("engine", [Thinker, EchoEngine], ids=["thinks", "does not"])
def test_a_trackers_table_has_a_column_of_thinking_where_there_is_some(
    sweeps: Sweeps, engine: type[EchoEngine]
) -> None:
    sweeps.write_dataset(range(2))
    sweep, tracker = sweeps.plan(), RecordingTracker(ONLINE)
    sweeps.ask(sweep, Thinker() if engine is Thinker else None)
    tell(sweep, tracker)
    table = tracker.told[0][1].tables["samples"]
    samples = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row.get("thinking") for row in samples] == [THOUGHT if engine is Thinker else None] * 2
    assert all(("thinking" in row) == (engine is Thinker) for row in samples)
    assert not any("secret" in str(row["answer"]) for row in samples)


def test_a_file_of_before_has_no_thinking(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(4))
    sweep = sweeps.plan()
    sweeps.ask(sweep, Thinker())
    step = next(iter(sweep.plan.steps))
    (path,) = (path for path in Path(sweep.store.paths.root).rglob("*.parquet") if path.parent.name == step)
    before = pq.read_table(path).drop_columns(["thinking", "thinking_tokens"])
    pq.write_table(before, path)
    rows = decode_rows(path.read_bytes())
    assert {(row.thinking, row.thinking_tokens) for row in rows.values()} == {(None, None)}
    assert {row.text for row in rows.values()} == set(before["text"].to_pylist())

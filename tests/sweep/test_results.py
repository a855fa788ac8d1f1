"""Results: cells joined range by range, whatever the slices are."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from eibench_ray.engines.base import EngineFacts, RowError
from eibench_ray.records import Reply, Request, RowErrorKind
from eibench_ray.sweep.results import Results

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps


@pytest.fixture(autouse=True)
def _short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eibench_ray.sweep.results.RANGE_ROWS", 3)


@pytest.mark.parametrize("slice_rows", [1, 3, 4, 10, 50])
def test_every_sample_is_joined_once_in_the_datasets_order(sweeps: Sweeps, slice_rows: int) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted", slice_rows=slice_rows))
    sweeps.ask(sweep)
    rows = list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))
    assert [row.sample.sample_id for row in rows] == [f"s{number:03d}" for number in range(10)]
    assert [row.answer.sample_id for row in rows if row.answer] == [row.sample.sample_id for row in rows]
    assert all(None not in (*row.replies, *row.verdicts) for row in rows)


def test_steps_of_different_slices_are_joined(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweeps.ask(sweeps.plan(sweeps.config(judge="first", slice_rows=4)))
    sweep = sweeps.plan(sweeps.config(judge="second", slice_rows=7))
    sweeps.ask(sweep)
    rows = list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))
    assert len(rows) == 10
    assert all(None not in row.verdicts for row in rows)


def test_a_limit_ends_the_join(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config(limit=5))
    sweeps.ask(sweep)
    assert len(list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))) == 5


def test_the_first_rows_are_read_without_the_others(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    sweep.store.paths.slice(sweep.plan.cells[0].answer, 2).write_bytes(b"damaged")
    assert len(list(islice(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]), 8))) == 8


def test_errors_of_answers_and_of_replies_are_counted(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    def fail_some(request: Request) -> str:
        if request.sample_id in ("s001", "s008") and request.image_digest:
            raise RowError(RowErrorKind.PROMPT, "too long")
        if request.sample_id == "s004" and request.json_schema:
            raise RowError(RowErrorKind.ENGINE, "broken")
        return '{"correct": 1, "total": 2}'

    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep, scripted(fail_some))
    row = Results(sweep.plan, sweep.store).score(sweep.plan.cells[0], sweep.config.score)
    assert row.errors == 5  # the two answers, what their verdicts would have read, and one verdict
    assert row.score.statuses["no_answer"] == 2
    assert row.score.statuses["judge_error"] == 1
    assert row.score.overall.n == 10


def test_a_cell_costs_what_all_of_its_rows_cost_and_counts_its_refusals(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("noted"))
    refusing = Refusing(num_refused=3)
    sweeps.ask(sweep, refusing, costs_money=True)
    (row,) = (Results(sweep.plan, sweep.store).score(cell, sweep.config.score) for cell in sweep.plan.cells)
    assert row.refused == 3  # of the answers; the judge's own are no answers
    assert row.cost_usd == pytest.approx(0.5 * refusing.num_asked)
    assert row.errors == 0
    joined = list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))
    assert [line.cost_usd for line in joined] == [1.5] * 10  # a note, an answer, a verdict


def test_what_has_no_price_has_no_cost(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    (row,) = (Results(sweep.plan, sweep.store).score(cell, sweep.config.score) for cell in sweep.plan.cells)
    assert (row.cost_usd, row.refused) == (None, 0)


class Refusing:
    """An engine whose replies cost half a dollar each; it refuses the last samples, whatever they are asked."""

    def __init__(self, num_refused: int) -> None:
        self._first = f"s{10 - num_refused:03d}"
        self.num_asked = 0

    async def start(self) -> EngineFacts:
        return EngineFacts("refusing", 8, costs_money=True)

    async def generate(self, request: Request, image: bytes | None) -> Reply:  # noqa: ARG002
        self.num_asked += 1
        reason = "content_filter" if request.sample_id >= self._first else "stop"
        return Reply("an answer", reason, 5, 2, cost_usd=0.5)

    async def stop(self) -> None:
        pass

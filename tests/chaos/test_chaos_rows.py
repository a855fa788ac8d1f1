"""Comparison of a chaos run's rows: a planted one that is lost, there twice, or different is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bench.chaos.rows import KEY, compare_rows, compare_scores, read_rows
from eibench_ray.rows.completion import Completion
from eibench_ray.runs.planning import PlannedSweep

if TYPE_CHECKING:
    from conftest import Sweeps


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    sweeps.write_dataset()
    planned = sweeps.plan()
    sweeps.ask(planned, run_id="peace")
    return planned


@pytest.fixture
def expected(sweep: PlannedSweep) -> pl.DataFrame:
    return read_rows(Path(sweep.store.root))


def rows_of(sweep: PlannedSweep, index: int = 1) -> tuple[str, list[Completion]]:
    """A slice of the sweep's first step."""
    step = next(iter(sweep.plan.steps))
    return step, list(sweep.store.read_slice(step, index).values())


def test_the_same_sweep_asked_by_another_run_is_the_same(sweep: PlannedSweep, expected: pl.DataFrame) -> None:
    step, rows = rows_of(sweep)
    changed = [replace(row, run_id="other", attempt=3, latency_s=9.0, finished_at=0.0, cached_tokens=7) for row in rows]
    sweep.store.write_slice(step, 1, changed)
    found = compare_rows(expected, read_rows(Path(sweep.store.root)))
    assert (found.num_rows, found.num_lost, found.num_duplicated, found.num_different) == (20, 0, 0, 0)
    assert (found.num_strange, found.examples) == (0, ())


def test_a_lost_row_and_a_lost_slice_are_found(sweep: PlannedSweep, expected: pl.DataFrame) -> None:
    step, rows = rows_of(sweep)
    sweep.store.write_slice(step, 1, rows[1:])
    Path(sweep.store.paths.slice(step, 2)).unlink()
    found = compare_rows(expected, read_rows(Path(sweep.store.root)))
    assert (found.num_lost, found.num_duplicated, found.num_different, found.num_strange) == (1 + 2, 0, 0, 0)
    assert found.examples[0] == f"lost: {rows[0].sample_id} of step {step}"


def test_a_row_that_lies_in_two_slices_is_found(sweep: PlannedSweep, expected: pl.DataFrame) -> None:
    step, rows = rows_of(sweep)
    _, others = rows_of(sweep, 0)
    sweep.store.write_slice(step, 0, [*others, rows[0]])
    found = compare_rows(expected, read_rows(Path(sweep.store.root)))
    assert (found.num_lost, found.num_duplicated, found.num_different, found.num_strange) == (0, 1, 0, 0)
    assert found.examples == (f"twice: {rows[0].sample_id} of step {step}",)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "other words"},
        {"text": None, "error_kind": "timeout", "error": "late"},
        {"finish_reason": "length"},
        {"request_digest": "other"},
        {"completion_tokens": 99},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_row_that_says_something_else_is_found(
    sweep: PlannedSweep, expected: pl.DataFrame, changes: dict[str, object]
) -> None:
    step, rows = rows_of(sweep)
    sweep.store.write_slice(step, 1, [replace(rows[0], **changes), *rows[1:]])  # type: ignore[arg-type]
    found = compare_rows(expected, read_rows(Path(sweep.store.root)))
    assert (found.num_lost, found.num_duplicated, found.num_different, found.num_strange) == (0, 0, 1, 0)
    assert found.examples[0].startswith(f"different: {rows[0].sample_id} of step {step}: ")


def test_rows_that_nobody_asked_for_are_found(sweep: PlannedSweep, expected: pl.DataFrame) -> None:
    part = expected.filter(pl.col("sample_id") != "s003")
    found = compare_rows(part, read_rows(Path(sweep.store.root)))
    assert (found.num_lost, found.num_strange) == (0, 2)


def test_an_empty_store_has_lost_everything(expected: pl.DataFrame, tmp_path: Path) -> None:
    nothing = read_rows(tmp_path / "nothing")
    assert (
        compare_rows(expected, nothing.cast({name: expected.schema[name] for name in nothing.columns})).num_lost == 20
    )
    assert set(KEY) <= set(nothing.columns)


def test_scores_are_compared_figure_by_figure() -> None:
    row = {"model": "echo", "setting": "plain", "judge": "strict", "value": 0.5, "n": 10, "groups": {"happy": {"n": 3}}}
    assert compare_scores([row], [dict(row)]) == []
    assert compare_scores([row], [row | {"value": 0.4}]) == ["echo/plain/strict: value is 0.4 instead of 0.5"]
    assert compare_scores([row], [row | {"groups": {}}]) == [
        'echo/plain/strict: groups is {} instead of {"happy": {"n": 3}}'
    ]
    assert compare_scores([row], []) == ["0 lines instead of 1"]

"""The lines about how far a run is: when they come and what they say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from eibench_ray.driver.run_events import Snapshot
from eibench_ray.rows.wait import Wait
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.progress_lines import ProgressLines

if TYPE_CHECKING:
    from conftest import Sweeps


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sweep(sweeps: Sweeps) -> PlannedSweep:
    sweeps.write_dataset()
    return sweeps.plan()


def snapshot(sweep: PlannedSweep, done: int = 0, *waits: Wait, errors: int = 0) -> Snapshot:
    """Snapshot of a run, `done` of each step's ten rows being committed."""
    engines = dict.fromkeys(list(sweep.plan.engines)[:1], (1, 2))
    absent = dict.fromkeys(sweep.plan.steps, 0)
    return Snapshot(dict.fromkeys(sweep.plan.steps, done), absent, engines, 1, 300, 0.0, waits, errors)


def test_the_first_minute_is_told_often_and_later_every_minute(
    sweep: PlannedSweep, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eibench_ray")
    clock, told = Clock(), []
    pulse = ProgressLines(sweep.plan, sweep.work, clock=clock)
    for second in range(300):
        caplog.clear()
        pulse.update(snapshot(sweep))
        told += [second] * len(caplog.records)
        clock.now += 1.0
    assert told == [9, 18, 27, 36, 45, 54, 114, 174, 234, 294]


def test_a_line_says_rows_rate_errors_time_left_replicas_and_what_is_waited_for(sweep: PlannedSweep) -> None:
    clock = Clock()
    pulse = ProgressLines(sweep.plan, sweep.work, clock=clock)
    pulse.update(snapshot(sweep))
    clock.now += 10.0
    wait = Wait("connection refused by 127.0.0.1:1", 35.0, 1800.0, "echo")
    assert pulse.describe(snapshot(sweep, 2, wait, errors=1)) == (
        "5 of 20 rows (25%), 0.5 rows/s, 30 tokens/s, 1 error, about 30 s left, 2 replicas ready, 1 starting; "
        "waiting: connection refused by 127.0.0.1:1 for 35 s of 1800 s (echo)"
    )


def test_a_wait_is_told_once_within_ten_seconds_and_when_it_is_over(
    sweep: PlannedSweep, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eibench_ray")
    pulse = ProgressLines(sweep.plan, sweep.work, clock=Clock())
    for second in range(9):
        pulse.update(snapshot(sweep, 0, Wait(f"fetching the weights ({second}.5 GB are here)", second, 1800.0, "echo")))
    pulse.update(snapshot(sweep))
    assert [record.getMessage() for record in caplog.records] == [
        "waiting: fetching the weights (5.5 GB are here) for 5 s of 1800 s (echo)",
        "no longer waiting: fetching the weights (8.5 GB are here) for 8 s of 1800 s (echo)",
    ]


def test_a_wait_whose_reason_names_another_row_each_time_is_told_once(
    sweep: PlannedSweep, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eibench_ray")
    pulse = ProgressLines(sweep.plan, sweep.work, clock=Clock())
    for second in range(9):
        reason = f"the reply to {'abcdefghi'[second]} is no answer (asked again)"
        pulse.update(snapshot(sweep, 0, Wait(reason, second, None, "echo", about="another attempt")))
    assert [record.getMessage() for record in caplog.records] == [
        "waiting: the reply to f is no answer (asked again) for 5 s (echo)"
    ]

"""The lines about how far a run is: when they come and what they say."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eibench_ray.driver.run_events import EngineProgress, Snapshot
from eibench_ray.estimate.time_range import Range
from eibench_ray.rows.wait import Wait
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.progress_lines import ProgressLines
from eibench_ray.runs.run_listeners import StatusWriter
from eibench_ray.runs.run_record import new_manifest, new_status
from eibench_ray.runs.run_view import RunViewer

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


@pytest.fixture
def pulse(sweep: PlannedSweep, tmp_path: Path) -> Pulse:
    return Pulse(sweep, tmp_path)


class Pulse(ProgressLines):
    """The lines about a run whose record is written before."""

    def __init__(self, sweep: PlannedSweep, folder: Path) -> None:
        manifest = new_manifest(sweep.plan, folder, sweep.config.store, sweep.config.score)
        status, viewer = new_status(manifest, sweep.store), RunViewer(sweep.plan)
        self.clock, self._writer = Clock(), StatusWriter(status, folder)
        super().__init__(lambda: viewer.view(status, 0.0), self.clock)
        self._plan = sweep.plan

    def tell(self, done: int = 0, *waits: Wait, errors: int = 0) -> None:
        """The run goes on: `done` of each step's ten rows are committed."""
        engines = dict.fromkeys(list(self._plan.engines)[:1], EngineProgress(loading=1, idle=2, tokens_per_s=30.0))
        snapshot = Snapshot(
            done=dict.fromkeys(self._plan.steps, done),
            absent=dict.fromkeys(self._plan.steps, 0),
            engines=engines,
            rows_in_flight=1,
            tokens=300,
            cost_usd=0.0,
            waits=waits,
            errors={next(iter(self._plan.steps)): errors},
            rows_per_s=0.5,
            left_s=Range(20.0, 30.0, 60.0),
        )
        self._writer.update(snapshot)
        self.update(snapshot)


def test_the_first_minute_is_told_often_and_later_every_minute(pulse: Pulse, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "eibench_ray")
    told = []
    for second in range(300):
        caplog.clear()
        pulse.tell()
        told += [second] * len(caplog.records)
        pulse.clock.now += 1.0
    assert told == [9, 18, 27, 36, 45, 54, 114, 174, 234, 294]


def test_a_line_says_rows_rate_errors_time_left_replicas_and_what_is_waited_for(
    pulse: Pulse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eibench_ray")
    pulse.tell()
    pulse.clock.now += 10.0
    pulse.tell(2, Wait("connection refused by 127.0.0.1:1", 35.0, 1800.0, "echo"), errors=1)
    assert caplog.records[-1].getMessage() == (
        "5 of 20 rows (25%), 0.5 rows/s, 30 tokens/s, 1 error, about 30 s (20 to 60) left, 2 replicas ready, "
        "1 starting; waiting: connection refused by 127.0.0.1:1 for 35 s of 1800 s (echo)"
    )


def test_a_wait_is_told_once_within_ten_seconds_and_when_it_is_over(
    pulse: Pulse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eibench_ray")
    for second in range(9):
        pulse.tell(0, Wait(f"fetching the weights ({second}.5 GB are here)", second, 1800.0, "echo"))
    pulse.tell()
    assert [record.getMessage() for record in caplog.records] == [
        "waiting: fetching the weights (5.5 GB are here) for 5 s of 1800 s (echo)",
        "no longer waiting: fetching the weights (8.5 GB are here) for 8 s of 1800 s (echo)",
    ]


def test_a_wait_whose_reason_names_another_row_each_time_is_told_once(
    pulse: Pulse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eibench_ray")
    for second in range(9):
        reason = f"the reply to {'abcdefghi'[second]} is no answer (asked again)"
        pulse.tell(0, Wait(reason, second, None, "echo", about="another attempt"))
    assert [record.getMessage() for record in caplog.records] == [
        "waiting: the reply to f is no answer (asked again) for 5 s (echo)"
    ]

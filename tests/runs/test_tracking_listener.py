"""Points that trackers are told while a sweep runs: each cell's own, the engines', and not too many."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from recording_tracker import ONLINE, RecordingTracker

from eibench_ray.driver.run_events import EngineProgress, Snapshot, StepSpend
from eibench_ray.plan.graph import Cell
from eibench_ray.runs.results import Results
from eibench_ray.runs.tracked_cells import flat_scores
from eibench_ray.runs.tracking_listener import CELL_POINTS, SWEEP_POINTS, TrackingListener
from eibench_ray.worker.gpu_meter import GpuUse

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def two(sweeps: Sweeps) -> PlannedSweep:
    """Two judges on the same answers."""
    sweeps.write_dataset(range(8))
    return sweeps.plan(sweeps.config(), sweeps.config(judge="exact"))


def take(sweep: PlannedSweep, share: float) -> Snapshot:
    """The progress of a sweep whose steps are done to a share; each row took 10 tokens and $1."""
    done = {step: round(share * sweep.plan.datasets[one.dataset].num_rows) for step, one in sweep.plan.steps.items()}
    spent = {step: StepSpend(10 * rows, float(rows)) for step, rows in done.items()}
    tokens = sum(one.completion_tokens for one in spent.values())
    engines = {key: EngineProgress(loading=1, judging=2, tokens=tokens, tokens_per_s=6.0) for key in sweep.plan.engines}
    return Snapshot(done, {}, engines, 0, tokens, 0.0, errors=dict.fromkeys(done, 1), spent=spent)


def listen(sweep: PlannedSweep, tracker: RecordingTracker, clock: Clock) -> TrackingListener:
    results = Results(sweep.plan, sweep.store)

    def score(cell: Cell) -> dict[str, float | int]:
        return flat_scores(results.score(cell, sweep.config.score))

    return TrackingListener(sweep.plan, {"one": tracker}, score, clock)


def wait_for_points(tracker: RecordingTracker, number: int) -> None:
    deadline = time.monotonic() + 30
    while len(tracker.points) < number and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_cell_has_its_own_tokens_and_the_score_of_its_finished_slices(two: PlannedSweep, sweeps: Sweeps) -> None:
    sweeps.ask(two)
    tracker, clock = RecordingTracker(ONLINE), Clock()
    listener = listen(two, tracker, clock)
    listener.update(take(two, 0.0))
    clock.now = 10.0
    listener.update(take(two, 0.5))
    wait_for_points(tracker, 3)
    listener.close()
    points = {facts.name.split("/")[-1].split("@")[0]: point for facts, point in tracker.points[:3]}
    # Half of 8 answers and of 8 verdicts: the other judge's verdicts are not in it.
    strict = points["strict"]
    assert (strict.rows_done, strict.rows_total, strict.figures["tokens"], strict.figures["cost_usd"]) == (8, 16, 80, 8)
    assert strict.figures["tokens_per_s"] == 8.0
    sweep = next(point for facts, point in tracker.points if facts.job == "sweep")
    assert sweep.figures["tokens"] == 120
    scored = [point for facts, point in tracker.points if "ci_low" in point.figures]
    assert scored
    assert scored[0].figures["coverage"] == 1.0


def test_the_sweep_has_series_of_its_engines(two: PlannedSweep) -> None:
    tracker, clock = RecordingTracker(ONLINE), Clock()
    listener = listen(two, tracker, clock)
    clock.now = 10.0
    uses = (GpuUse("n1:0", 90.0, 20.5), GpuUse("n1:1", 50.0, 10.0), GpuUse("n1:MIG-a", None, 5.0))
    listener.update(replace(take(two, 0.25), gpus=dict.fromkeys(two.plan.engines, uses)))
    listener.close()
    point = next(point for facts, point in tracker.points if facts.job == "sweep")
    names = {spec.name for spec in two.plan.engines.values()}
    assert names == {"echo"}
    assert (point.figures["rows/echo"], point.figures["queue/echo"], point.figures["errors/echo"]) == (6, 18, 3)
    assert (point.figures["tokens_per_s/echo"], point.figures["tokens_per_s"], point.figures["errors"]) == (6.0, 6.0, 3)
    assert {name: value for name, value in point.figures.items() if name.startswith("gpu_")} == {
        "gpu_use_percent": 70.0,
        "gpu_use_percent/echo": 70.0,
        "gpu_use_percent/n1:0/echo": 90.0,
        "gpu_use_percent/n1:1/echo": 50.0,
        "gpu_memory_gb/n1:0/echo": 20.5,
        "gpu_memory_gb/n1:1/echo": 10.0,
        "gpu_memory_gb/n1:MIG-a/echo": 5.0,
    }
    states = {name: value for name, value in point.figures.items() if name.startswith("replicas_")}
    assert states == {
        f"replicas_{state}/echo": {"loading": 1, "judging": 2}.get(state, 0)
        for state in ("placing", "loading", "generating", "judging", "idle", "lost")
    }


def test_points_are_bounded_however_long_a_run_is(two: PlannedSweep) -> None:
    tracker, clock = RecordingTracker(ONLINE), Clock()
    listener = listen(two, tracker, clock)
    week_s, seconds = 7 * 86400, 30
    for moment in range(0, week_s, seconds):
        clock.now = float(moment)
        listener.update(take(two, moment / week_s))
    listener.close()
    by_job = [facts.job for facts, _ in tracker.points]
    assert by_job.count("sweep") < 6 * SWEEP_POINTS
    assert by_job.count("cell") <= 2 * CELL_POINTS


def test_a_short_run_has_a_point_at_its_end(two: PlannedSweep) -> None:
    tracker, clock = RecordingTracker(ONLINE), Clock()
    listener = listen(two, tracker, clock)
    clock.now = 1.0
    listener.update(take(two, 1.0))
    assert tracker.points == []
    listener.close()
    assert [(facts.job, point.rows_done) for facts, point in tracker.points] == [("sweep", 24), *[("cell", 16)] * 2]


def test_nobody_is_told_without_a_tracker(two: PlannedSweep) -> None:
    tracker = RecordingTracker(None)
    listener = listen(two, tracker, Clock())
    listener.update(take(two, 1.0))
    listener.close()
    assert tracker.points == []

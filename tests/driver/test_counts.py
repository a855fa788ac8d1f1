"""The numbers behind the progress display: rows about which there was nothing to ask are no completions."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import pytest

from eibench_ray.driver.run_events import EngineProgress, Snapshot
from eibench_ray.driver.run_progress import ReplicaStatus, RunProgress
from eibench_ray.estimate.time_left import estimate_left
from eibench_ray.worker.gpu_meter import GpuUse
from eibench_ray.worker.row_attempts import ReplicaCounts

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

NUM_SAMPLES = 6


def test_absent_rows_leave_the_total_and_are_not_counted_as_done(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = sweeps.plan(sweeps.config("asking"))
    counts = RunProgress(sweep.plan, sweep.work)
    for report in sweeps.ask(sweep, scripted(lambda _: "one line")):
        counts.add(report)
    asked = 6 * NUM_SAMPLES  # nobody has a second line
    snapshot = counts.snapshot([])
    assert sum(spent.rows for spent in snapshot.spent.values()) == counts.outcome.num_new
    assert sum(snapshot.done.values()) - sum(snapshot.absent.values()) == counts.outcome.num_new == asked
    assert not any(counts.has_work(engine) for engine in sweep.plan.engines)
    again = sweeps.plan(sweeps.config("asking"))
    assert counts.snapshot([]).absent == RunProgress(again.plan, again.work).snapshot([]).absent


def test_replicas_are_counted_by_what_they_do_and_those_that_are_gone_by_what_they_did(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = sweeps.plan(sweeps.config("plain"))
    now = [100.0]
    counts = RunProgress(sweep.plan, sweep.work, clock=lambda: now[0])
    answer, verdict = sweep.plan.steps
    model = sweep.plan.steps[answer].engine
    counts.add_gone(model, ReplicaCounts(tokens=50), is_lost=True)

    seen = GpuUse("here:0", 50.0, 1.0)

    def snapshot(tokens: int) -> Snapshot:
        busy = [
            ReplicaStatus(model, True, ReplicaCounts(rows=3, tokens=tokens, gpus=(seen,)), 1, rows={answer: 4}),
            ReplicaStatus(model, True, ReplicaCounts(), 0, rows={answer: 1, verdict: 4}),
            ReplicaStatus(model, True, ReplicaCounts(), 0),
            ReplicaStatus(model, False, ReplicaCounts(), 0),
            ReplicaStatus(model, False, ReplicaCounts(), 0, is_placed=False),
        ]
        return counts.snapshot(busy)

    first = snapshot(0)
    assert first.engines == {model: EngineProgress(1, 1, 1, 1, 1, lost=1, tokens=50)}
    assert first.rows_per_s is None
    assert first.asking == {answer: 5, verdict: 4}
    assert first.rows_in_flight == 2
    assert first.gpus == {model: (seen,)}
    now[0] += 10.0
    assert snapshot(300).engines[model].tokens_per_s == 30.0
    counts.outcome.failed_engines[model] = "it is gone"
    assert counts.snapshot([]).engines[model].failed == "it is gone"


def test_the_time_left_goes_by_rows_of_engines_that_still_have_some(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    """Answers are through at once; the judge, of which nothing is measured, is expected to take 800 s."""
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = sweeps.plan(sweeps.config("plain"))
    answer, verdict = sweep.plan.steps
    model = sweep.plan.steps[answer].engine
    steps = {answer: sweep.plan.steps[answer], verdict: replace(sweep.plan.steps[verdict], engine="judge")}
    engines = {**sweep.plan.engines, "judge": replace(sweep.plan.engines[model], key="judge")}
    now = [100.0]
    counts = RunProgress(replace(sweep.plan, steps=steps, engines=engines), sweep.work, clock=lambda: now[0])
    counts.snapshot([])
    for report in sweeps.ask(sweep, scripted(lambda _: "one line")):
        if report.slice.step == answer:
            counts.add(report)
    now[0] += 3.0
    left = counts.snapshot([], horizon_s=800.0, prior_share=1.0).left_s
    expected = estimate_left(800.0, 1.0, NUM_SAMPLES)
    assert left is not None
    assert expected is not None
    assert astuple(left) == pytest.approx(astuple(expected)), "the rate of 2 rows/s says nothing of the judge"
    judging = ReplicaStatus("judge", True, ReplicaCounts(rows=2), 0, rows={verdict: 4})
    soon = counts.snapshot([judging], horizon_s=800.0, prior_share=1.0).left_s
    assert soon is not None
    assert soon.expected < left.expected / 2, "its own rows are a guess at the others"

"""The numbers behind the progress display: rows about which there was nothing to ask are no completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eibench_ray.driver.run_events import EngineProgress, Snapshot
from eibench_ray.driver.run_progress import ReplicaStatus, RunProgress
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

"""The numbers behind the progress display: rows about which there was nothing to ask are no completions."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from eibench_ray.driver.progress_display import MAX_WAITS, ProgressDisplay
from eibench_ray.driver.run_progress import RunProgress
from eibench_ray.rows.wait import Wait

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

NUM_SAMPLES = 6


def test_absent_rows_leave_the_total_and_are_not_counted_as_done(sweeps: Sweeps, scripted: type[Scripted]) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = sweeps.plan(sweeps.config("asking"))
    counts = RunProgress(sweep.plan, sweep.work)
    out = io.StringIO()
    display = ProgressDisplay(sweep.plan, sweep.work, Console(file=out, force_terminal=True, width=200))
    with display:
        display.update(counts.snapshot([]))
        for report in sweeps.ask(sweep, scripted(lambda _: "one line")):
            counts.add(report)
        display.update(counts.snapshot([]))
    total = 7 * NUM_SAMPLES
    assert f"0/{total}" in out.getvalue()
    asked = total - NUM_SAMPLES  # nobody has a second line
    assert f"{asked}/{asked}" in out.getvalue()
    assert f"{total}/{total}" not in out.getvalue()
    assert counts.outcome.num_new == asked
    assert not any(counts.has_work(engine) for engine in sweep.plan.engines)
    again = sweeps.plan(sweeps.config("asking"))
    assert counts.snapshot([]).absent == RunProgress(again.plan, again.work).snapshot([]).absent


def test_the_screen_says_what_is_waited_for(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    sweep = sweeps.plan(sweeps.config("plain"))
    counts, out = RunProgress(sweep.plan, sweep.work), io.StringIO()
    waits = [Wait(f"connection refused by [b]127.0.0.1:{port}", 35.0 - port, 1800.0, "tiny") for port in range(6)]
    with ProgressDisplay(sweep.plan, sweep.work, Console(file=out, force_terminal=True, width=200), None) as display:
        display.update(counts.snapshot([], waits))
    shown = out.getvalue()
    for wait in waits[:MAX_WAITS]:
        assert f"waiting: connection refused by [b]{wait.reason[-11:]} for {wait.waited_s:.0f} s of 1800 s" in shown
    assert "127.0.0.1:4" not in shown
    assert "and 2 more" in shown

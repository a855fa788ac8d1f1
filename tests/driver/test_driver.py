"""The driver on a real Ray: replicas are started, fed, killed and stopped; every row is there exactly once."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from driving import SLOW, Run, check_whole, cluster_of, replica_processes

from eibench_ray.driver.failure_policy import MAX_DEATHS_WITH_ROWS
from eibench_ray.driver.poison_search import LONELY_DEATHS
from eibench_ray.driver.replica_set import KILL_TIMEOUT_S
from eibench_ray.driver.run_events import Snapshot
from eibench_ray.driver.walltime import Deadlines
from eibench_ray.errors import ClusterError
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.schedule.backlog import MARKS

if TYPE_CHECKING:
    from conftest import Sweeps

pytestmark = pytest.mark.usefixtures("ray_here")


def test_a_sweep_runs_to_its_end_and_loads_each_engine_once(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    configs = [
        sweeps.config(setting, judge, judge_engine={"fails_on": f"never {judge}"})
        for setting in ("plain", "noted")
        for judge in ("first", "second")
    ]
    sweep = sweeps.plan(*configs)
    assert (len(sweep.plan.steps), len(sweep.plan.engines)) == (7, 3)
    run = Run(sweep)
    outcome = run.finish()
    assert (outcome.num_new, outcome.num_loads) == (70, 3)
    assert outcome.completion_tokens > 0
    assert not outcome.failed_engines
    assert not outcome.unfinished_steps
    assert Counter(event["model"] for event in run.events("replica_ready")) == {
        "echo": 1,
        "first_model": 1,
        "second_model": 1,
    }
    assert len(run.events("slice_committed")) == 21
    assert dict(run.listener.snapshots[-1].done) == dict.fromkeys(sweep.plan.steps, 10)
    check_whole(sweep, sweeps.plan(*configs))


def test_a_replica_that_is_killed_is_replaced_and_no_row_is_lost(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    config = sweeps.config(engine=SLOW, cluster=cluster_of())
    killed: list[int] = []

    def kill_once(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed" and not killed:
            (process,) = replica_processes()
            process.kill()
            killed.append(process.pid)

    sweep = sweeps.plan(config)
    run = Run(sweep, kill_once)
    outcome = run.finish()
    assert killed
    assert [event["reason"][:28] for event in run.events("replica_lost")] == ["the replica's process died: "]
    assert (outcome.num_loads, outcome.num_new) == (2, 80)
    assert not outcome.failed_engines
    check_whole(sweep, sweeps.plan(config))


def test_an_engine_that_keeps_dying_is_given_up_and_the_others_finish(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    slow = {
        "fails_on": "never",
        "latency_s": 60.0,
    }  # another engine than the sound one; no answer comes before the kill
    doomed = sweeps.config(model={"name": "doomed"}, engine=slow)
    sound = sweeps.config("brief", model={"name": "sound"})

    def kill_doomed(event: str, fields: dict[str, Any]) -> None:
        import ray

        if event == "replica_ready" and fields["model"] == "doomed":
            ray.kill(run.driver.replica_set.states[fields["replica"]].handle.actor)

    sweep = sweeps.plan(doomed, sound)
    run = Run(sweep, kill_doomed)
    outcome = run.finish()
    ((key, reason),) = outcome.failed_engines.items()
    assert sweep.plan.engines[key].name == "doomed"
    assert "the replica's process died" in reason
    assert len(run.events("replica_lost")) == MAX_DEATHS_WITH_ROWS
    assert outcome.unfinished_steps == set(sweep.plan.cells[0].steps)
    assert sweeps.plan(sound).is_complete
    assert sweeps.plan(doomed).num_done == 0


@pytest.mark.parametrize(
    ("dies_with", "words"),
    [("process", "the replica's process died"), ("engine", "the engine died while it answered s002")],
)
def test_a_row_that_kills_its_replica_or_its_engine_costs_itself_alone(
    sweeps: Sweeps, dies_with: str, words: str
) -> None:
    sweeps.write_dataset(questions={2: "kill"})
    engine = {"dies_on": "kill", "dies_with": dies_with}
    config = sweeps.config(engine=engine, slice_rows=1, cluster=cluster_of())
    sweep = sweeps.plan(config)
    run = Run(sweep)
    outcome = run.finish()
    assert (outcome.num_new, outcome.failed_engines) == (18, {})
    rows = sweeps.rows(sweep, "answer")
    assert {name: row.error_kind for name, row in rows.items() if row.error_kind} == {"s002": "quarantined"}
    assert re.search(rf"each of the 2 times .*; the last time: {words}", rows["s002"].error or "")
    assert [event["sample"] for event in run.events("row_quarantined")] == ["s002"]
    assert len(run.events("replica_lost")) == MARKS + LONELY_DEATHS
    check_whole(sweep, sweeps.plan(config))


def test_an_engine_that_cannot_start_fails_its_cells_alone(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    missing = sweeps.config(model={"name": "retired", "engine": {"kind": "replay", "predictions": "/nowhere"}})
    sound = sweeps.config()
    sweep = sweeps.plan(missing, sound)
    outcome = Run(sweep).finish()
    assert [sweep.plan.engines[key].name for key in outcome.failed_engines] == ["retired"]
    (reason,) = outcome.failed_engines.values()
    assert "/nowhere/faces.plain.jsonl cannot be read (No such file or directory)" in reason
    assert outcome.num_new == 20
    assert sweeps.plan(sound).is_complete


# A dollar per word of a prompt: each answer costs "Look. why is person 7 so?", six dollars, and a reply nothing.
PAID: dict[str, Any] = {"price": {"input": 1e6, "output": 0.0}, "fails_on": "never"}


def test_a_spent_budget_ends_what_is_paid_for_and_nothing_else(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    paid = sweeps.config(model={"name": "paid"}, engine=PAID)
    free = sweeps.config("brief", model={"name": "free"})
    sweep = sweeps.plan(paid, free)
    run = Run(sweep, limiter=LocalRateLimiter(budget_usd=25.0))
    outcome = run.finish()
    assert outcome.shortage == (
        "budget_usd does not allow another request of up to $6.00: raise it and run the same command again to go on"
    )
    assert (outcome.cost_usd, outcome.failed_engines) == (24.0, {})
    assert outcome.unfinished_steps == set(sweep.plan.cells[0].steps)
    assert run.listener.snapshots[-1].cost_usd == 24.0
    assert len(run.events("budget_spent")) == 1
    assert run.events("replica_lost") == []
    assert (
        sum(event["cost_usd"] for event in (*run.events("slice_committed"), *run.events("slice_interrupted"))) == 24.0
    )
    assert sweeps.plan(free).is_complete
    again = sweeps.plan(paid, free)
    answer = sweep.plan.cells[0].answer
    assert (again.work[answer].num_done, again.budget.spent_usd) == (4, 24.0)

    outcome = Run(again, limiter=LocalRateLimiter(budget_usd=60.0, spent_usd=again.budget.spent_usd)).finish()
    assert (outcome.shortage, outcome.cost_usd) == (None, 36.0)
    check_whole(sweep, sweeps.plan(paid, free))


def test_what_was_answered_is_judged_when_the_budget_is_spent(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    config = sweeps.config(engine=PAID | {"max_num_seqs": 1}, slice_rows=1)
    sweep = sweeps.plan(config)
    outcome = Run(sweep, limiter=LocalRateLimiter(budget_usd=25.0)).finish()
    assert outcome.shortage
    again = sweeps.plan(config)
    assert [again.work[step].num_done for step in (sweep.plan.cells[0].answer, sweep.plan.cells[0].verdicts[0])] == [
        4,
        4,
    ]


def test_a_replica_that_is_killed_has_committed_what_was_paid_for(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    # It answers for some four seconds, and is looked at every second.
    config = sweeps.config(engine=PAID | SLOW | {"latency_s": 0.4}, slice_rows=40, cluster=cluster_of())
    sweep = sweeps.plan(config)
    answer = sweep.plan.cells[0].answer
    run = Run(sweep)
    rows_then: list[int] = []

    def kill_once(_: Snapshot) -> None:
        if not rows_then and (rows := sweep.store.read_slice(answer, 0)):
            rows_then.append(len(rows))
            (paid,) = (state for state in run.driver.replica_set.states.values() if state.handle.spec.price)
            run.process(paid.handle.id).kill()

    run.listener.hook = kill_once
    outcome = run.finish()
    assert 0 < rows_then[0] < 40
    assert len(run.events("replica_lost")) == 1
    assert outcome.num_new == 80
    assert sweep.store.read_cost(answer) == 40 * 6.0  # a row that was asked again would have cost its earlier six, too
    check_whole(sweep, sweeps.plan(config))


def test_an_interrupted_run_goes_on_and_asks_nothing_twice(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    config = sweeps.config(engine=SLOW, cluster=cluster_of())

    def stop(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed":
            run.driver.request_stop()

    run = Run(sweeps.plan(config), stop)
    first = run.finish()
    assert first.was_interrupted
    assert first.unfinished_steps
    sweep = sweeps.plan(config)
    assert 0 < first.num_new == sweep.num_done < 80
    second = Run(sweep).finish()
    assert first.num_new + second.num_new == 80
    check_whole(sweep, sweeps.plan(config))


def test_copies_share_the_work(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    model = {"expect": {"load_s": 0.1, "tokens_per_s": 100.0}}
    cluster = cluster_of(max_replicas_per_engine=2)
    config = sweeps.config(engine=SLOW | {"fails_on": "never"}, model=model, cluster=cluster)
    sweep = sweeps.plan(config)
    ready: list[psutil.Process] = []

    def hold_the_first(event: str, fields: dict[str, Any]) -> None:
        if event == "replica_ready" and fields["model"] == "echo":
            ready.append(run.process(fields["replica"]))
            ready[0].suspend() if len(ready) == 1 else ready[0].resume()

    run = Run(sweep, hold_the_first)
    outcome = run.finish()
    (answer, _) = sweep.plan.steps
    shares = Counter(event["replica"] for event in run.events("slice_committed") if event["step"] == answer)
    assert len(shares) == len(ready) == 2
    assert outcome.num_new == 80
    check_whole(sweep, sweeps.plan(config))


def test_a_further_copy_that_cannot_start_does_not_take_its_engine_along(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    recording = sweeps.folder / "faces.plain.jsonl"
    recording.write_text("".join(f'{{"faces/{number}.png": "sun"}}\n' for number in range(40)))
    engine = {"kind": "replay", "predictions": str(sweeps.folder), "max_num_seqs": 1}
    model = {"engine": engine, "expect": {"load_s": 0.001, "tokens_per_s": 1.0}}
    config = sweeps.config(model=model, slice_rows=1, cluster=cluster_of(max_replicas_per_engine=2))
    ready: list[psutil.Process] = []

    def lose_recording(event: str, fields: dict[str, Any]) -> None:
        """The first one waits; the second one dies, and whoever follows it finds no recording."""
        if event == "replica_ready" and fields["model"] == "echo":
            recording.unlink(missing_ok=True)
            ready.append(run.process(fields["replica"]))
            ready[-1].suspend() if len(ready) == 1 else ready[-1].kill()
        elif event == "replica_lost" and "cannot be read" in fields["reason"]:
            ready[0].resume()

    sweep = sweeps.plan(config)
    run = Run(sweep, lose_recording)
    outcome = run.finish()
    assert sum("cannot be read" in event["reason"] for event in run.events("replica_lost")) == 1
    assert not outcome.failed_engines
    assert outcome.num_new == 80


def test_an_engine_that_gets_no_place_in_time_is_given_up(sweeps: Sweeps) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group

    sweeps.write_dataset()
    everything = placement_group([{"CPU": 2}])
    assert everything.wait(10)  # all cores are somebody else's now: no replica finds room
    model = {"name": "late", "engine": {"kind": "vllm", "source": "checkpoint:tiny_llama", "max_model_len": 64}}
    cluster = cluster_of(start_timeout_s=4.0, device="cpu")
    sweep = sweeps.plan(sweeps.config(model=model, cluster=cluster))
    outcome = Run(sweep).finish()
    remove_placement_group(everything)
    (reason,) = outcome.failed_engines.values()
    assert reason.startswith("engine 'late' found no place for a replica within 4 s: it needs 0 GPUs and 1 cores on ")
    assert reason.endswith(", where 0 GPUs and 0 cores are free now; another job on the cluster holds the rest")
    assert outcome.num_new == 0


def test_an_engine_that_never_fits_is_refused_unless_it_has_nothing_to_do(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    config = sweeps.config(
        model={"name": "large"},
        engine={"num_gpus": 4},
        judge_engine={"fails_on": "never"},
        cluster=cluster_of(gpu_resource="slot"),
    )
    run = Run(sweeps.plan(config))
    with pytest.raises(
        ClusterError, match=r"engine 'large' needs 4 GPUs and 1 cores .* the cluster has 0 GPUs and 2 c"
    ):
        run.finish()
    assert not run.events("replica_starting")
    sweeps.ask(sweeps.plan(config))
    (_, verdict) = sweeps.plan(config).plan.steps
    sweeps.plan(config).store.paths.slice(verdict, 0).unlink()
    assert Run(sweeps.plan(config)).finish().num_new == 4


def test_what_is_given_up_is_not_started_again(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    model = {"name": "retired", "engine": {"kind": "replay", "predictions": "/nowhere"}}
    run = Run(sweeps.plan(sweeps.config(model=model, cluster=cluster_of(max_replicas_per_engine=1))))
    outcome = run.finish()
    assert len(outcome.failed_engines) == 1
    assert [event["model"] for event in run.events("replica_starting")].count("retired") == 1


def starts_and_ends(run: Run) -> tuple[list[int], list[int]]:
    """The replicas that were started, and those whose resources were given back."""
    started, stopped = run.events("replica_starting"), run.events("replica_stopped")
    return sorted(event["replica"] for event in started), sorted(event["replica"] for event in stopped)


@pytest.mark.parametrize("moment", ["replica_starting", "replica_placed", "replica_ready", "slice_sent"])
def test_a_stop_at_any_moment_is_over_soon_and_leaves_nothing(sweeps: Sweeps, moment: str) -> None:
    sweeps.write_dataset()
    run = Run(
        sweeps.plan(sweeps.config(engine=SLOW, cluster=cluster_of())),
        lambda event, _: run.driver.request_stop() if event == moment else None,
    )
    outcome = run.finish()
    started, stopped = starts_and_ends(run)
    assert outcome.was_interrupted
    assert started == stopped
    assert started
    (asked,), (ended,) = run.events("interrupted"), run.events("run_ended")
    assert ended["time"] - asked["time"] < 20  # a Python that begins to start is waited for, on a busy machine longer


def test_a_replica_that_does_not_answer_is_killed_when_the_time_is_over(sweeps: Sweeps) -> None:
    sweeps.write_dataset()

    def hang(event: str, fields: dict[str, Any]) -> None:
        if event == "slice_sent":
            run.process(fields["replica"]).suspend()
            run.driver.request_stop()

    run = Run(sweeps.plan(sweeps.config(engine=SLOW, cluster=cluster_of(stop_timeout_s=1.0))), hang)
    run.finish()
    started, stopped = starts_and_ends(run)
    assert started == stopped
    (asked,), (ended,) = run.events("interrupted"), run.events("run_ended")
    assert 1 <= ended["time"] - asked["time"] < 1 + KILL_TIMEOUT_S


def test_a_preempted_run_finishes_what_is_in_flight_and_asks_no_more(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    config = sweeps.config(engine=SLOW | {"latency_s": 1.0}, cluster=cluster_of(grace_s=20.0))

    def give_way(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed":
            run.driver.give_way()

    run = Run(sweeps.plan(config), give_way)
    first = run.finish()
    assert (first.was_interrupted, first.was_preempted) == (True, True)
    (told,) = run.events("interrupted")
    assert told["reason"] == "preemption"
    asked, done = run.events("slice_sent"), run.events("slice_committed")
    assert all(event["time"] <= told["time"] for event in asked)
    assert done[0]["new"] < first.num_new < 40  # how many were in flight when the first slice was done is the machine's
    assert sweeps.plan(config).num_done == first.num_new


def test_ctrl_c_ends_the_time_of_grace(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    config = sweeps.config(engine=SLOW | {"latency_s": 60.0}, cluster=cluster_of(grace_s=60.0))

    def end(event: str, _: dict[str, Any]) -> None:
        if event == "slice_sent":
            asyncio.get_running_loop().call_later(0.5, run.driver.give_way)
        elif event == "interrupted":
            asyncio.get_running_loop().call_later(0.2, run.driver.request_stop)

    run = Run(sweeps.plan(config), end)
    outcome = run.finish()
    assert (outcome.was_interrupted, outcome.was_preempted) == (True, False)
    (asked,), (ended,) = run.events("interrupted"), run.events("run_ended")
    assert ended["time"] - asked["time"] < 8


def test_a_run_that_was_done_within_its_grace_was_not_preempted(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(2))
    config = sweeps.config(
        engine=SLOW | {"latency_s": 0.5}, cluster=cluster_of(grace_s=20.0), judge_engine=SLOW | {"latency_s": 3.0}
    )
    sent = []

    def give_way(event: str, _: dict[str, Any]) -> None:
        if event == "slice_sent":
            sent.append(event)
            if len(sent) == 2:  # the verdicts are the last
                asyncio.get_running_loop().call_later(1.5, run.driver.give_way)  # they are asked by then

    run = Run(sweeps.plan(config), give_way)
    outcome = run.finish()
    assert (outcome.num_new, outcome.was_preempted, outcome.unfinished_steps) == (4, False, set())


def test_a_walltime_ends_a_run_in_time_and_the_next_goes_on(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    config = sweeps.config(engine=SLOW, cluster=cluster_of())

    def end(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed":
            run.driver.deadlines = Deadlines(drain_at=time.monotonic())

    run = Run(sweeps.plan(config), end, left_s=3600.0)
    outcome = run.finish()
    assert outcome.was_preempted
    assert 0 < outcome.num_new < 80
    (told,) = run.events("interrupted")
    assert told["reason"] == "walltime"
    assert Run(sweeps.plan(config)).finish().num_new == 80 - outcome.num_new


def test_a_walltime_that_is_too_short_for_a_row_is_an_error_and_no_reason_to_try_again(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    config = sweeps.config(model={"expect": {"load_s": 600.0}}, cluster=cluster_of())
    run = Run(sweeps.plan(config), left_s=300.0)
    with pytest.raises(ClusterError, match=r"left no time to finish a single row \(300 s; .*raise cluster\.walltime"):
        run.finish()
    assert not run.events("replica_starting")

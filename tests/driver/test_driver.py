"""The driver on a real Ray: replicas are started, fed, killed and stopped; every row is there exactly once."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from driving import RULE, SLOW, Run, check_whole, cluster_of

from eibench_ray.driver import failure_policy, poison_search
from eibench_ray.driver.driver import Driver
from eibench_ray.driver.run_events import Snapshot
from eibench_ray.driver.walltime import Deadlines
from eibench_ray.errors import ClusterError
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.schedule import backlog

if TYPE_CHECKING:
    from conftest import Sweeps

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture(autouse=True)
def short_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has engines rest a tenth of a second; test_failure_policy.py says for how long they do."""
    monkeypatch.setattr(failure_policy, "FIRST_REST_S", 0.1)


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


def test_an_engine_that_keeps_dying_is_given_up_and_the_others_finish(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_policy, "MAX_DEATHS_WITH_ROWS", 2)  # test_failure_policy.py and test_poison.py have all
    sweeps.write_dataset()
    slow = {
        "fails_on": "never",
        "latency_s": 60.0,
    }  # another engine than the sound one; no answer comes before the kill
    doomed = sweeps.config(judge=RULE, model={"name": "doomed"}, engine=slow)
    sound = sweeps.config("brief", judge=RULE, model={"name": "sound"})

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
    assert len(run.events("replica_lost")) == 2
    assert outcome.unfinished_steps == set(sweep.plan.cells[0].steps)
    assert sweeps.plan(sound).is_complete
    assert sweeps.plan(doomed).num_done == 0


@pytest.mark.parametrize(
    ("dies_with", "words"),
    # The search itself is as in test_poison.py, where engines die with all that they do; here, one death of each kind.
    [("process", "the replica's process died"), ("engine", "the engine died while it answered s002")],
)
def test_a_row_that_kills_its_replica_or_its_engine_costs_itself_alone(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch, dies_with: str, words: str
) -> None:
    monkeypatch.setattr(backlog, "MARKS", 1)
    monkeypatch.setattr(poison_search, "LONELY_DEATHS", 1)
    sweeps.write_dataset(questions={2: "kill"})
    engine = {"dies_on": "kill", "dies_with": dies_with}
    config = sweeps.config(engine=engine, slice_rows=1, cluster=cluster_of())
    sweep = sweeps.plan(config)
    run = Run(sweep)
    outcome = run.finish()
    assert (outcome.num_new, outcome.failed_engines) == (18, {})
    rows = sweeps.rows(sweep, "answer")
    assert {name: row.error_kind for name, row in rows.items() if row.error_kind} == {"s002": "quarantined"}
    assert re.search(rf"each of the 1 times .*; the last time: {words}", rows["s002"].error or "")
    assert [event["sample"] for event in run.events("row_quarantined")] == ["s002"]
    assert len(run.events("replica_lost")) == 2
    check_whole(sweep, sweeps.plan(config))


def test_an_engine_that_cannot_start_fails_its_cells_alone_and_is_not_started_again(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    cluster = cluster_of(max_replicas_per_engine=1)
    retired = {"name": "retired", "engine": {"kind": "replay", "predictions": "/nowhere"}}
    missing, sound = sweeps.config(model=retired, cluster=cluster), sweeps.config(cluster=cluster)
    sweep = sweeps.plan(missing, sound)
    run = Run(sweep)
    outcome = run.finish()
    assert [sweep.plan.engines[key].name for key in outcome.failed_engines] == ["retired"]
    (reason,) = outcome.failed_engines.values()
    assert "/nowhere/faces.plain.jsonl cannot be read (No such file or directory)" in reason
    assert [event["model"] for event in run.events("replica_starting")].count("retired") == 1
    assert outcome.num_new == 20
    assert sweeps.plan(sound).is_complete


# A dollar per word of a prompt: each answer costs "Look. why is person 7 so?", six dollars, and a reply nothing.
PAID: dict[str, Any] = {"price": {"input": 1e6, "output": 0.0}, "fails_on": "never"}


def test_a_spent_budget_ends_what_is_paid_for_and_nothing_else(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    paid = sweeps.config(model={"name": "paid"}, engine=PAID | {"max_num_seqs": 1}, slice_rows=1)
    free = sweeps.config("brief", model={"name": "free"}, slice_rows=1)
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
    # What was answered is judged.
    asked = (sweep.plan.cells[0].answer, *sweep.plan.cells[0].verdicts)
    assert [again.work[step].num_done for step in asked] == [4, 4]
    assert again.budget.spent_usd == 24.0

    outcome = Run(again, limiter=LocalRateLimiter(budget_usd=60.0, spent_usd=again.budget.spent_usd)).finish()
    assert (outcome.shortage, outcome.cost_usd) == (None, 36.0)
    check_whole(sweep, sweeps.plan(paid, free))


def test_a_replica_that_is_killed_is_replaced_and_has_committed_what_was_paid_for(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    engine = PAID | SLOW | {"latency_s": 0.4}
    config = sweeps.config(judge=RULE, engine=engine, slice_rows=40, cluster=cluster_of())
    sweep = sweeps.plan(config)
    answer = sweep.plan.cells[0].answer
    rows_then: list[int] = []

    async def kill_once(replica: int) -> None:
        while not (rows := sweep.store.read_slice(answer, 0)):
            await asyncio.sleep(0.05)
        rows_then.append(len(rows))
        run.process(replica).kill()

    def watch(event: str, fields: dict[str, Any]) -> None:
        if event == "slice_sent" and fields["step"] == answer and not watchers:
            watchers.append(asyncio.create_task(kill_once(fields["replica"])))

    watchers: list[asyncio.Task[None]] = []
    run = Run(sweep, watch)
    outcome = run.finish()
    assert 0 < rows_then[0] < 40
    (lost,) = run.events("replica_lost")
    assert lost["reason"].startswith("the replica's process died: ")
    assert (outcome.num_loads, outcome.num_new, outcome.failed_engines) == (2, 40, {})
    assert sweep.store.read_cost(answer) == 40 * 6.0  # a row that was asked again would have cost its earlier six, too
    check_whole(sweep, sweeps.plan(config))


def test_a_run_that_is_stopped_preempted_or_out_of_time_goes_on_and_asks_nothing_twice(sweeps: Sweeps) -> None:
    """Each ends when it has committed a slice; all rows take five seconds and more."""
    sweeps.write_dataset(range(40))
    config = sweeps.config(engine=SLOW | {"latency_s": 0.5}, cluster=cluster_of(grace_s=60.0))
    ends: dict[str, Callable[[Driver], object]] = {
        "stop": Driver.request_stop,
        "preemption": Driver.give_way,
        "walltime": lambda driver: setattr(driver, "deadlines", Deadlines(drain_at=time.monotonic())),
    }
    runs: list[Run] = []

    def end_it(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed":
            list(ends.values())[len(runs) - 1](runs[-1].driver)

    num_done = 0
    for reason in ends:
        runs.append(run := Run(sweeps.plan(config), end_it, left_s=3600.0 if reason == "walltime" else math.inf))
        outcome = run.finish()
        assert (outcome.was_interrupted, outcome.was_preempted) == (True, reason != "stop")
        (told,) = run.events("interrupted")
        assert told["reason"] == reason
        assert all(event["time"] <= told["time"] for event in run.events("slice_sent"))
        assert outcome.num_new > 0
        num_done += outcome.num_new
        assert sweeps.plan(config).num_done == num_done < 80
        if reason != "stop":  # what was in flight is finished
            assert outcome.num_new > run.events("slice_committed")[0]["new"]
    config = sweeps.config(engine=SLOW, cluster=cluster_of())
    sweep = sweeps.plan(config)
    assert Run(sweep).finish().num_new == 80 - num_done
    check_whole(sweep, sweeps.plan(config))


def test_copies_share_the_work(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    model = {"expect": {"load_s": 0.1, "tokens_per_s": 100.0}}
    cluster = cluster_of(max_replicas_per_engine=2)
    config = sweeps.config(judge=RULE, engine=SLOW, model=model, cluster=cluster)
    sweep = sweeps.plan(config)
    ready: list[psutil.Process] = []

    def hold_the_first(event: str, fields: dict[str, Any]) -> None:
        if event == "replica_ready":
            ready.append(run.process(fields["replica"]))
            ready[0].suspend() if len(ready) == 1 else ready[0].resume()

    run = Run(sweep, hold_the_first)
    outcome = run.finish()
    shares = Counter(event["replica"] for event in run.events("slice_committed"))
    assert len(shares) == len(ready) == 2
    assert outcome.num_new == 40
    check_whole(sweep, sweeps.plan(config))


def test_a_further_copy_that_cannot_start_does_not_take_its_engine_along(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(40))
    recording = sweeps.folder / "faces.plain.jsonl"
    recording.write_text("".join(f'{{"faces/{number}.png": "sun"}}\n' for number in range(40)))
    engine = {"kind": "replay", "predictions": str(sweeps.folder), "max_num_seqs": 1}
    model = {"engine": engine, "expect": {"load_s": 0.001, "tokens_per_s": 1.0}}
    config = sweeps.config(judge=RULE, model=model, slice_rows=1, cluster=cluster_of(max_replicas_per_engine=2))
    ready: list[psutil.Process] = []

    def lose_recording(event: str, fields: dict[str, Any]) -> None:
        """The first one waits; the second one dies, and whoever follows it finds no recording."""
        if event == "replica_ready":
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
    assert outcome.num_new == 40


def test_an_engine_that_gets_no_place_in_time_is_given_up(sweeps: Sweeps) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group

    sweeps.write_dataset()
    everything = placement_group([{"CPU": 2}])
    assert everything.wait(10)  # all cores are somebody else's now: no replica finds room
    model = {"name": "late", "engine": {"kind": "vllm", "source": "checkpoint:tiny_llama", "max_model_len": 64}}
    cluster = cluster_of(start_timeout_s=1.0, device="cpu")
    sweep = sweeps.plan(sweeps.config(model=model, cluster=cluster))
    outcome = Run(sweep).finish()
    remove_placement_group(everything)
    (reason,) = outcome.failed_engines.values()
    assert reason.startswith("engine 'late' found no place for a replica within 1 s: it needs 0 GPUs and 1 cores on ")
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


def starts_and_ends(run: Run) -> tuple[list[int], list[int]]:
    """The replicas that were started, and those whose resources were given back."""
    started, stopped = run.events("replica_starting"), run.events("replica_stopped")
    return sorted(event["replica"] for event in started), sorted(event["replica"] for event in stopped)


@pytest.mark.parametrize("moment", ["replica_starting", "replica_placed", "replica_ready", "slice_sent"])
def test_a_stop_at_any_moment_waits_for_nothing_in_vain_and_leaves_nothing(sweeps: Sweeps, moment: str) -> None:
    sweeps.write_dataset()
    run = Run(
        sweeps.plan(sweeps.config(engine=SLOW, cluster=cluster_of(stop_timeout_s=60.0))),
        lambda event, _: run.driver.request_stop() if event == moment else None,
    )
    outcome = run.finish()
    started, stopped = starts_and_ends(run)
    assert outcome.was_interrupted
    assert started == stopped
    assert started
    assert run.events("deadline") == []


def test_a_replica_that_does_not_answer_is_killed_when_the_time_is_over(sweeps: Sweeps) -> None:
    sweeps.write_dataset()

    stopped: list[psutil.Process] = []

    def hang(event: str, fields: dict[str, Any]) -> None:
        if event == "slice_sent" and not stopped:
            stopped.append(run.process(fields["replica"]))
            stopped[0].suspend()
            run.driver.request_stop()

    run = Run(sweeps.plan(sweeps.config(engine=SLOW, cluster=cluster_of(stop_timeout_s=1.0))), hang)
    run.finish()
    started, ended = starts_and_ends(run)
    assert started == ended
    (asked,), (told, *_), (over,) = (run.events(event) for event in ("interrupted", "deadline", "run_ended"))
    assert (told["replica"], told["waited_s"]) == (started[0], 1.0)
    assert over["time"] - asked["time"] >= 1.0


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
    assert ended["time"] - asked["time"] < 60


def test_a_run_that_was_done_within_its_grace_was_not_preempted(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(2))
    config = sweeps.config(cluster=cluster_of(grace_s=60.0), judge_engine=PAID | {"latency_s": 4.0, "max_num_seqs": 4})

    def give_way(_: Snapshot) -> None:
        """When the verdicts are being asked, which are the last: an endpoint's replica says that it gets on."""
        for state in run.driver.replica_set.states.values():
            if state.handle.spec.price and state.counts_so_far.progress:
                run.driver.give_way()

    run = Run(sweeps.plan(config))
    run.listener.hook = give_way
    outcome = run.finish()
    assert run.events("interrupted")
    assert (outcome.num_new, outcome.was_preempted, outcome.unfinished_steps) == (4, False, set())


def test_a_walltime_that_is_too_short_for_a_row_is_an_error_and_no_reason_to_try_again(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    config = sweeps.config(model={"expect": {"load_s": 600.0}}, cluster=cluster_of())
    run = Run(sweeps.plan(config), left_s=300.0)
    with pytest.raises(ClusterError, match=r"left no time to finish a single row \(300 s; .*raise cluster\.walltime"):
        run.finish()
    assert not run.events("replica_starting")

"""Replicas that hang are found, named in the ledger, killed and started again, on a real Ray; the rest goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from driving import RULE, SLOW, Run, check_whole, cluster_of

from eibench_ray.driver.actor_handle import ActorHandle
from eibench_ray.runs.planning import PlannedSweep

if TYPE_CHECKING:
    from conftest import Sweeps

pytestmark = pytest.mark.usefixtures("ray_here")


def texts(sweep: PlannedSweep) -> dict[tuple[str, str], str | None]:
    """The answers that a run left."""
    steps = sweep.plan.steps
    return {
        (step, row.sample_id): row.text
        for step in steps
        for slice_ in sweep.work[step].todo
        for row in sweep.store.read_slice(step, slice_.index).values()
    }


def test_a_replica_that_is_stopped_is_killed_and_its_rows_are_asked_again(sweeps: Sweeps, sweeps_in: Any) -> None:
    sweeps.write_dataset(range(20))
    quiet = sweeps_in(sweeps.folder / "quiet")
    quiet.write_dataset(range(20))
    undisturbed = quiet.plan(quiet.config(engine=SLOW, cluster=cluster_of()))
    quiet.ask(undisturbed)
    config = sweeps.config(engine=SLOW, cluster=cluster_of(progress_timeout_s=3.0))
    stopped: list[int] = []

    def stop_once(event: str, fields: dict[str, Any]) -> None:
        if event == "slice_committed" and not stopped:
            process = run.process(fields["replica"])
            process.suspend()
            stopped.append(fields["replica"])

    sweep = sweeps.plan(config)
    run = Run(sweep, stop_once)
    outcome = run.finish()
    (told,) = run.events("deadline")
    assert told["replica"] == stopped[0]
    assert told["what"] == f"replica {stopped[0]} to make a token or to finish a row"
    assert told["waited_s"] >= 3
    assert told["did"] == "killed it; its rows are asked again"
    (lost,) = run.events("replica_lost")
    assert lost["reason"].startswith("it hangs: no token and no row for ")
    assert not outcome.failed_engines
    check_whole(sweep, sweeps.plan(config))
    assert texts(sweep) == texts(undisturbed)


def test_a_row_that_is_never_answered_is_noticed_and_the_next_run_goes_on(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    cluster = cluster_of(progress_timeout_s=3.0)

    def stop(event: str, _: dict[str, Any]) -> None:
        if event == "replica_lost":
            run.driver.request_stop()

    run = Run(sweeps.plan(sweeps.config(engine={"hangs_on": "person 7"} | SLOW, cluster=cluster)), stop)
    outcome = run.finish()
    assert outcome.was_interrupted
    (told,), (lost,) = run.events("deadline"), run.events("replica_lost")
    assert (told["replica"], told["did"]) == (lost["replica"], "killed it; its rows are asked again")
    assert lost["reason"].startswith("it hangs: ")
    assert {event["replica"] for event in run.events("slice_returned")} == {lost["replica"]}
    config = sweeps.config(engine=SLOW, cluster=cluster)
    sweep = sweeps.plan(config)
    assert outcome.num_new > 0
    assert Run(sweep).finish().num_new == 20 - outcome.num_new
    check_whole(sweep, sweeps.plan(config))


def test_an_engine_that_hangs_in_its_start_is_given_up_after_so_many_and_the_others_finish(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    cluster = cluster_of(max_start_failures=2)
    stuck = sweeps.config(model={"name": "stuck"}, engine={"load_s": 600.0, "fails_on": "never"}, cluster=cluster)
    sound = sweeps.config("brief", model={"name": "sound"}, cluster=cluster)
    sweep = sweeps.plan(stuck, sound)

    def be_impatient(event: str, fields: dict[str, Any]) -> None:
        """With that one alone: the sound ones have all the time that a busy machine takes."""
        if event == "replica_placed":
            handle = run.driver.replica_set.states[fields["replica"]].handle
            if handle.spec.name == "stuck":
                handle.config = handle.config.model_copy(update={"start_timeout_s": 2.0})

    run = Run(sweep, be_impatient)
    outcome = run.finish()
    (reason,) = outcome.failed_engines.values()
    assert reason == (
        "the engine did not load within 2 s: raise cluster.start_timeout_s, or choose a smaller model "
        "(cluster.max_start_failures=2 starts in a row failed)"
    )
    told = run.events("deadline")
    starts = [event for event in run.events("replica_starting") if event["model"] == "stuck"]
    assert [event["replica"] for event in told] == [event["replica"] for event in starts]
    assert [event["what"] for event in told] == [f"replica {event['replica']} to load its engine" for event in starts]
    assert len(starts) == 2
    assert starts[1]["time"] - told[0]["time"] >= 1.0  # it rests
    assert outcome.unfinished_steps == set(sweep.plan.cells[0].steps)
    assert sweeps.plan(sound).is_complete


def test_an_engine_whose_first_start_was_killed_starts_again(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    config = sweeps.config(judge=RULE, engine={"load_s": 1.0}, cluster=cluster_of())
    killed: list[int] = []

    def kill_once(event: str, fields: dict[str, Any]) -> None:
        if event == "replica_placed" and not killed:
            killed.append(fields["replica"])
            asyncio.get_running_loop().call_later(0.5, kill, run.driver.replica_set.states[fields["replica"]].handle)

    def kill(handle: ActorHandle[Any]) -> None:
        import ray

        if handle.actor is None:
            asyncio.get_running_loop().call_later(0.1, kill, handle)
        else:
            ray.kill(handle.actor)

    sweep = sweeps.plan(config)
    run = Run(sweep, kill_once)
    outcome = run.finish()
    assert not outcome.failed_engines
    assert [event["replica"] for event in run.events("replica_lost")] == killed
    check_whole(sweep, sweeps.plan(config))


def test_rows_of_an_endpoint_wait_for_their_own_deadline_and_a_stop_that_hangs_is_cut_short(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(4))
    paid = {"price": {"input": 0.001, "output": 0.0}, "latency_s": 4.0, "max_num_seqs": 4, "stop_s": 600.0}
    config = sweeps.config(judge=RULE, engine=paid, cluster=cluster_of(progress_timeout_s=3.0, stop_timeout_s=1.0))
    sweep = sweeps.plan(config)
    run = Run(sweep)
    assert run.finish().num_new == 4
    (told,) = run.events("deadline")
    assert (told["what"], told["waited_s"]) == (f"replica {told['replica']} to stop its engine", 1.0)
    assert told["did"] == "killed it"
    check_whole(sweep, sweeps.plan(config))

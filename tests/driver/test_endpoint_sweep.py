"""A sweep at an endpoint where everything goes wrong, killed and resumed: no row is lost, none is paid for twice."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from driving import RULE, Run, check_whole, cluster_of, replica_processes
from fault_replies import THOUGHT
from faults import Behaviour, Fault, all_mixed

if TYPE_CHECKING:
    from conftest import Sweeps
    from fault_server import FaultServer

    from eibench_ray.runs.planning import PlannedSweep

pytestmark = pytest.mark.usefixtures("ray_here")

NUM_SAMPLES = 24


def answered(sweep: PlannedSweep, sweeps: Sweeps) -> dict[str, str]:
    """The request of each committed answer, with what was answered."""
    rows = {name: sweeps.rows(sweep, name) for name in ("answer", "verdict")}
    return {row.request_digest: row.text or "" for step in rows.values() for row in step.values() if not row.error_kind}


def test_every_row_ends_as_one_row_and_is_paid_for_once(sweeps: Sweeps, fault_server: FaultServer) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    fault_server.behave(Behaviour(faults=all_mixed(0.5), latency_s=0.02))
    engine: dict[str, Any] = {
        "kind": "openai",
        "endpoint": "local",
        "base_url": fault_server.base_url,
        "model": "tiny",
        "price": {"input": 1.0, "output": 2.0},
        "request_timeout_s": 2.0,  # a busy machine takes longer than half a second to read what has come
        "attempts": 30,
        "limits": {"max_concurrency": 8},
    }
    config = sweeps.config(engine=engine, judge_engine=engine, cluster=cluster_of())

    def kill_once(event: str, _: dict[str, Any]) -> None:
        if event == "slice_committed" and len(first.events("slice_committed")) == 3:
            (process,) = replica_processes()
            process.kill()
            # While it is replaced, the port is dead as well for a while.
            fault_server.stop()
            threading.Timer(3.0, fault_server.start).start()
            committed.update(answered(sweep, sweeps))
            stored.update(name for name, row in sweeps.rows(sweep, "answer").items() if not row.error_kind)

    committed: dict[str, str] = {}
    stored: set[str] = set()
    sweep = sweeps.plan(config)
    first = Run(sweep, kill_once)
    assert not first.finish().failed_engines
    assert len(first.events("replica_lost")) == 1
    assert len(committed) >= 12
    # What failed for a passing reason is asked again, if there is any.
    Run(sweeps.plan(config)).finish()

    check_whole(sweep, sweeps.plan(config))
    kept = answered(sweep, sweeps)
    assert len(kept) == 2 * NUM_SAMPLES
    assert {digest: kept[digest] for digest in committed} == committed
    # Only what the dead replica had been answered and had not committed yet was paid for twice: at most what it held.
    counts = fault_server.counts().values()
    twice = [count.text for count in counts if count.answered > 1]
    assert len(twice) <= 8
    assert sum(count.answered for count in counts) == 2 * NUM_SAMPLES + len(twice)
    assert not [text for text in twice for name in stored if f"Look. why is person {int(name[1:])} so?" in text]


def test_no_judge_is_sent_what_a_model_thought(sweeps: Sweeps, fault_server: FaultServer) -> None:
    sweeps.write_dataset(range(4))
    thoughts = (Fault.THOUGHT, Fault.THOUGHT_IN_TEXT, Fault.THOUGHT_HALF_IN_TEXT)
    fault_server.behave(Behaviour(faults=dict.fromkeys(thoughts, 1 / 3)))
    engine = {"kind": "openai", "endpoint": "local", "base_url": fault_server.base_url, "model": "thinks"}
    sweep = sweeps.plan(sweeps.config("noted", engine=engine, judge_engine=engine, cluster=cluster_of()))
    Run(sweep).finish()
    for step in ("note", "answer", "verdict"):
        assert {row.thinking for row in sweeps.rows(sweep, step).values()} == {THOUGHT}
    asked = [count.text for count in fault_server.counts().values()]
    assert len(asked) == 12
    assert not [text for text in asked if THOUGHT in text or "think>" in text]


def test_an_outage_ends_the_engine_once_and_makes_no_row_a_suspect(sweeps: Sweeps) -> None:
    sweeps.write_dataset(range(NUM_SAMPLES))
    engine = {"kind": "openai", "endpoint": "local", "base_url": "http://127.0.0.1:1/v1", "model": "tiny"}
    config = sweeps.config(judge=RULE, engine=engine | {"outage_timeout_s": 4.0}, cluster=cluster_of())
    sweep = sweeps.plan(config)
    run = Run(sweep)
    outcome = run.finish()
    (reason,) = outcome.failed_engines.values()
    assert (
        "given no answer of any kind for outage_timeout_s=4; the last time: connection refused by 127.0.0.1:1" in reason
    )
    assert len([event for event in run.events("replica_starting") if event["model"] == "echo"]) == 1
    assert not any(run.events(kind) for kind in ("poison_search_begun", "slice_probed", "row_quarantined"))
    assert sweeps.rows(sweep, "answer") == {}
    waits = [str(wait) for snapshot in run.listener.snapshots for wait in snapshot.waits]
    told = [wait for wait in waits if wait.startswith("waiting: connection refused by 127.0.0.1:1 for ")]
    assert told
    assert all(wait.endswith(" s of 4 s (echo)") for wait in told)

"""A sweep over a batch endpoint on a real Ray: stopped, killed and resumed; each request is paid once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from batch_server import BatchServer
from driving import Run, check_whole, cluster_of, replica_processes

if TYPE_CHECKING:
    from conftest import Sweeps

pytestmark = pytest.mark.usefixtures("ray_here")


def test_a_sweep_that_is_stopped_and_killed_in_a_batch_goes_on_in_it(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    with BatchServer() as server:
        server.is_held = True
        engine: dict[str, Any] = {
            "kind": "openai",
            "endpoint": "local",
            "base_url": server.base_url,
            "model": "tiny",
            "mode": "batch",
            "price": {"input": 1.0, "output": 1.0},
            "batch": {"linger_s": 0.3, "poll_s": 0.1},
        }
        config = sweeps.config(engine=engine, judge_engine=engine, cluster=cluster_of())
        first = Run(sweeps.plan(config))
        server.hooks["retrieve"] = first.driver.request_stop
        stopped = first.finish()
        assert stopped.was_interrupted
        assert (stopped.num_new, server.calls["create"], server.paid) == (0, 1, {})

        def kill_once() -> None:
            del server.hooks["retrieve"]
            (process,) = (found for found in replica_processes() if found.is_running())
            process.kill()
            server.is_held = False

        server.hooks["retrieve"] = kill_once
        sweep = sweeps.plan(config)
        second = Run(sweep)
        outcome = second.finish()
        assert len(second.events("replica_lost")) == 1
        assert outcome.num_new == 20
        check_whole(sweep, sweeps.plan(config))
        # Ten answers and ten verdicts.
        assert (len(server.paid), set(server.paid.values())) == (20, {1})
        assert server.calls["create"] == 2
    rows = [*sweeps.rows(sweep, "answer").values(), *sweeps.rows(sweep, "verdict").values()]
    assert all(row.text and row.error_kind is None for row in rows)

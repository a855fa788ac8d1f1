"""Priors that are wrong by a factor of a thousand: what a replica holds, and how soon its speed is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cases import CHAIN, case_of

from eibench_ray.estimate.simulator import Simulator

ROWS = 20_000
CAPACITY = 64


@pytest.mark.parametrize("factor", [1000.0, 1 / 1000.0])
def test_a_replica_holds_little_more_than_it_does_in_a_second(factor: float) -> None:
    graph = {"answer": CHAIN["answer"]}
    speed = {"a": {"tokens_per_s": 4000, "capacity": CAPACITY}}
    case = case_of(graph, num_rows=ROWS, slice_rows=8, gpus=(1,), changes=speed)
    true = case.world.engines["a"]
    wrong = {"a": replace(true, tokens_per_s=true.tokens_per_s * factor)}
    held: dict[tuple[str, int], int] = {}
    most = 0

    def record(event: dict[str, Any]) -> None:
        nonlocal most
        match event["event"]:
            case "slice_sent":
                held[event["step"], event["slice"]] = event["rows"]
                most = max(most, sum(held.values()))
            case "slice_committed":
                del held[event["step"], event["slice"]]

    outcome = Simulator(case, wrong, record).run()
    rows_per_s = true.tokens_per_s / true.tokens_per_row["answer"]
    assert most < 2.5 * (CAPACITY + rows_per_s), "a prior that is too high has it hold thousands of slices"
    right = Simulator(case, case.world.engines).run()
    assert outcome.wall_clock_s == pytest.approx(right.wall_clock_s, rel=0.02), "its batch ran dry"

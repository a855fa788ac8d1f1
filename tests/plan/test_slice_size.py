"""Rows per slice where the configuration leaves them open."""

from __future__ import annotations

import pytest

from eibench_ray.config.cluster import ClusterConfig, ClusterExpectation
from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.registry import engine_spec
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import DatasetSpec, Plan, Prompt, Step
from eibench_ray.planner.slice_size import choose_slice_rows
from eibench_ray.rows.request import Sampling


def plan_of(num_rows: int, num_gpus: int, num_engines: int = 1) -> Plan:
    steps, engines = {}, {}
    for number in range(num_engines):
        key, step = f"engine{number}", f"step{number}"
        engines[key] = engine_spec(key, key, EchoSection(kind="echo"), "cuda", None, num_gpus, Expectation())
        steps[step] = Step(step, "answer", key, Prompt(None, "", False, False), Sampling(0, 1, 100), 0, "data", {})
    return Plan("test", engines, {"data": DatasetSpec("data", "data", None, num_rows, is_prepared=False)}, steps, ())


def cluster(nodes: int, gpus_per_node: int) -> ClusterConfig:
    return ClusterConfig(name="test", expect=ClusterExpectation(nodes=nodes, gpus_per_node=gpus_per_node))


@pytest.mark.parametrize(
    ("num_rows", "num_gpus", "num_engines", "nodes", "rows"),
    [
        (24, 1, 1, 1, 8),  # never less than a batch's worth of files would be
        (1665, 1, 1, 1, 8),  # 8 replicas, 13 rows in each of 16 slices
        (1665, 2, 1, 1, 16),  # 4 replicas
        (1665, 1, 8, 1, 64),  # 1 replica each
        (1665, 1, 16, 1, 64),
        (10**7, 1, 1, 512, 256),  # nor more files than one likes to open
        (12_000, 1, 1, 512, 16),
        (10**7, 1, 1, 1, 256),  # never more than is worth losing
        (1665, 0, 1, 1, 64),  # without GPUs one replica
    ],
)
def test_slices_follow_the_rows_of_a_replica(
    num_rows: int, num_gpus: int, num_engines: int, nodes: int, rows: int
) -> None:
    chosen = choose_slice_rows(plan_of(num_rows, num_gpus, num_engines), "auto", cluster(nodes, 8))
    assert set(chosen.values()) == {rows}


def test_a_chosen_number_stands() -> None:
    assert choose_slice_rows(plan_of(1665, 1), 32, cluster(1, 8)) == {"step0": 32}

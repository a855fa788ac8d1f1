"""The time that a run has: who says so, and what is kept back of it."""

from __future__ import annotations

import math

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.walltime import END_VARIABLE, WRAP_UP_S, deadlines, seconds_left
from eibench_ray.errors import ClusterError


@pytest.mark.parametrize(
    ("walltime", "environment", "left"),
    [
        (None, {}, math.inf),
        (600.0, {}, 600),
        (None, {END_VARIABLE: "1250"}, 250),
        (600.0, {END_VARIABLE: "1250"}, 250),
        (100.0, {END_VARIABLE: "1250"}, 100),
    ],
)
def test_the_sooner_end_holds(walltime: float | None, environment: dict[str, str], left: float) -> None:
    assert seconds_left(walltime, 1000.0, environment) == left


def test_an_end_that_is_no_time_is_named() -> None:
    with pytest.raises(ClusterError, match="SLURM_JOB_END_TIME='soon' is no Unix time"):
        seconds_left(None, 0.0, {END_VARIABLE: "soon"})


def test_rows_have_their_grace_and_the_end_its_time() -> None:
    found = deadlines(1000.0, 50.0, ClusterConfig(name="x", grace_s=60.0, stop_timeout_s=30.0))
    assert found.rows_until == 50 + 1000 - 30 - WRAP_UP_S
    assert found.drain_at == found.rows_until - 60


def test_too_little_time_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"the run has 60 s .*raise cluster\.walltime"):
        deadlines(60.0, 0.0, ClusterConfig(name="x", grace_s=20.0, stop_timeout_s=30.0))

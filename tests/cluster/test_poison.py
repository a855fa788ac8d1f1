"""Rows that kill their engine, on a real Ray: each costs itself, and whatever else is there is answered once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from driving import Run, check_whole, cluster_of

from eibench_ray.cluster.session import ray_session
from eibench_ray.config.schema import ClusterConfig

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.records import Completion

DEADLY = "kill"


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with ray_session(ClusterConfig(name="local", num_cpus=2, num_gpus=0)):
        yield


def poison(*numbers: int) -> dict[int, str]:
    """The questions of samples that kill their engine."""
    return {number: f"{DEADLY} {number}?" for number in numbers}


def quarantined(rows: dict[str, Completion]) -> set[int]:
    """The samples in quarantine."""
    return {int(sample_id[1:]) for sample_id, row in rows.items() if row.error_kind == "quarantined"}


@pytest.mark.parametrize("dies_with", ["process", "engine"])
@pytest.mark.parametrize("killers", [(5,), (0, 3, 9), (4, 5, 6, 7)], ids=["one", "at the ends", "a whole slice"])
def test_rows_that_kill_their_engine_cost_themselves_alone(
    sweeps: Sweeps, killers: tuple[int, ...], dies_with: str
) -> None:
    sweeps.write_dataset(questions=poison(*killers))
    config = sweeps.config(engine={"dies_on": DEADLY, "dies_with": dies_with}, cluster=cluster_of())
    sweep = sweeps.plan(config)
    run = Run(sweep)
    outcome = run.finish()
    answers, verdicts = sweeps.rows(sweep, "answer"), sweeps.rows(sweep, "verdict")
    assert quarantined(answers) == set(killers)
    assert {int(row.sample_id[1:]) for row in answers.values() if row.text} == set(range(10)) - set(killers)
    assert {row.error_kind for row in verdicts.values() if int(row.sample_id[1:]) in killers} == {"upstream"}
    assert (outcome.num_new, outcome.failed_engines, outcome.unfinished_steps) == (20 - 2 * len(killers), {}, set())
    assert {event["sample"] for event in run.events("row_quarantined")} == {f"s{number:03d}" for number in killers}
    check_whole(sweep, sweeps.plan(config))

"""The time that a plan says against what then happens, once a run has measured the engines: ten kinds of sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from driving import RULE
from virtual_time import TrueEngine, World

from eibench_ray.config.schema import RunConfig
from eibench_ray.estimate.fitted_time import Unit
from eibench_ray.estimate.time_estimate import estimate_on
from eibench_ray.runs.measured_speeds import read_measured
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.schedule.resources import Node, Resources
from eibench_ray.schedule.row_costs import RowCosts

if TYPE_CHECKING:
    from conftest import Sweeps

# Seconds of a request, a token (alpha, beta), a prompt's token, a picture.
ENDPOINT = TrueEngine(RowCosts(0.4, 0.02, 0.0, 0.0, 0.0), 32, tokens={"how many": 8.0})
LOADED = TrueEngine(RowCosts(0.0, 0.03, 0.002, 0.001, 0.05), 16, 30.0, {"how many": 8.0})
JUDGE = TrueEngine(RowCosts(0.0, 0.02, 0.001, 0.0005, 0.0), 32, 20.0, {"how many": 6.0})


@dataclass(frozen=True)
class Kind:
    """A kind of sweep: a small one measures, a larger one is planned.

    Attributes:
        then: keywords of the larger sweep's configuration, where they are others.
    """

    engines: Mapping[str, TrueEngine]
    keys: Mapping[str, Any] = field(default_factory=dict)  # keywords of the configurations
    then: Mapping[str, Any] = field(default_factory=dict)
    gpus: int = 0
    first_rows: int = 60
    rows: int = 300


def vllm(**keys: Any) -> dict[str, Any]:
    return {"kind": "vllm", "source": "nobody/loads-this", "max_model_len": 1024, **keys}


def openai(**limits: Any) -> dict[str, Any]:
    at = {"endpoint": "here", "base_url": "http://127.0.0.1:9/v1", "model": "tiny"}
    return {"kind": "openai", **at, "limits": {"max_concurrency": 64, **limits}}


def echo(seqs: int, **keys: Any) -> dict[str, Any]:
    return {"max_num_seqs": seqs, **keys}


KINDS = {
    "text, scored by a rule": Kind({"echo": ENDPOINT}, {"judge": RULE, "engine": echo(32)}),
    "a loaded model on cores": Kind({"echo": LOADED}, {"judge": RULE, "model": {"engine": vllm(max_num_seqs=16)}}),
    "another mix of pictures and texts": Kind(
        {"echo": LOADED},
        {"judge": RULE, "model": {"engine": vllm(max_num_seqs=16)}, "setting": "noted"},
        {"setting": "plain"},
    ),
    "a model and another one that judges": Kind(
        {"echo": ENDPOINT, "strict_model": JUDGE}, {"engine": echo(32), "judge_engine": echo(32, fails_on="never")}
    ),
    "an endpoint with a limit": Kind(
        {"echo": TrueEngine(ENDPOINT.costs, 64, per_min=300)},
        {"judge": RULE, "model": {"engine": openai(requests_per_min=300)}},
    ),
    "an endpoint with a limit that nobody knows": Kind(
        {"echo": TrueEngine(ENDPOINT.costs, 64, per_min=300)},
        {"judge": RULE, "model": {"engine": openai()}},
        first_rows=150,
        rows=400,
    ),
    "a prior that is too high": Kind(
        {"echo": ENDPOINT},
        {"judge": RULE, "engine": echo(32), "model": {"expect": {"tokens_per_s": 1e7, "load_s": 0.1}}},
    ),
    "a prior that is too low": Kind(
        {"echo": LOADED},
        {"judge": RULE, "model": {"engine": vllm(max_num_seqs=16), "expect": {"tokens_per_s": 0.5, "load_s": 600}}},
    ),
    "several replicas": Kind(
        {"echo": TrueEngine(LOADED.costs, 16, 8.0)}, {"judge": RULE, "engine": echo(16, num_gpus=1)}, gpus=4, rows=600
    ),
    "a GPU that changes hands": Kind(
        {"echo": LOADED, "strict_model": JUDGE},
        {"engine": echo(16, num_gpus=1), "judge_engine": echo(32, num_gpus=1, fails_on="never")},
        gpus=1,
    ),
    "fewer rows than fit at once": Kind(
        {"echo": TrueEngine(ENDPOINT.costs, 256)}, {"judge": RULE, "engine": echo(256)}, first_rows=20, rows=120
    ),
    "captions first": Kind(
        {"echo": LOADED, "strict_model": JUDGE},
        {"setting": "noted", "engine": echo(16, num_gpus=1), "judge_engine": echo(32, num_gpus=1, fails_on="x" * 9)},
        gpus=2,
    ),
}


def plan_of(sweeps: Sweeps, limit: int, keys: Mapping[str, Any]) -> PlannedSweep:
    config: RunConfig = sweeps.config(limit=limit, slice_rows=8, **keys)
    return sweeps.plan(config)


@pytest.mark.parametrize("name", KINDS)
def test_a_plan_is_within_15_percent_of_what_then_happens(
    name: str, sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = KINDS[name]
    sweeps.write_dataset(range(kind.rows))
    nodes = (Node("here", "this machine", Resources(8, kind.gpus), 80.0 if kind.gpus else 0.0),)
    World(plan_of(sweeps, kind.first_rows, kind.keys), kind.engines, nodes).run(monkeypatch)
    sweep = plan_of(sweeps, kind.rows, {**kind.keys, **kind.then})
    unit: Unit = "gpu" if kind.gpus else "core"
    measured = read_measured(sweep.plan, sweep.store)
    planned = estimate_on(sweep.plan, sweep.work, sweep.config.cluster, nodes, unit, measured).wall_clock_s
    took_s = World(sweep, kind.engines, nodes).run(monkeypatch)
    print(f"{name}: planned {planned.expected:.1f} s, took {took_s:.1f} s, {planned.expected / took_s:.3f}")
    assert planned.expected == pytest.approx(took_s, rel=0.15)

"""Time of the rest of a plan, on nodes that are only expected."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from eibench_ray.config.cluster import ClusterConfig, ClusterExpectation
from eibench_ray.estimate.engine_profiles import engine_profiles
from eibench_ray.estimate.measured_profiles import Measured
from eibench_ray.estimate.simulated_case import Case, World
from eibench_ray.estimate.simulator import Simulator
from eibench_ray.estimate.time_estimate import TimeEstimate, estimate_on, estimate_time
from eibench_ray.estimate.time_range import EXPECTED
from eibench_ray.estimate.time_tables import estimates_to_json, render_estimates, summarise_estimates
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import StepWork, cut
from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.schedule.measured_engine import MeasuredEngine, MeasuredStep
from eibench_ray.schedule.resources import Node, Resources

if TYPE_CHECKING:
    from conftest import Planner

CORES = 4
# 600 tokens/s in batches of one: a row of 60 tokens takes 0.1 s, whatever else is asked.
EYE = {"model.expect": {"load_s": 100.0, "tokens_per_s": 600.0, "tokens_per_row": 60.0}, "model.engine.max_num_seqs": 1}
JUDGE = {
    "judge.model.expect": {"load_s": 50.0, "tokens_per_s": 600.0, "tokens_per_row": 60.0},
    "judge.model.engine.max_num_seqs": 1,
}


def rows(plan: Plan, count: int, done: Mapping[str, int] = {}) -> dict[str, StepWork]:
    """So many rows of each step, some of them in the store, by the step's name."""
    work = {}
    for step in plan.steps.values():
        num_done = done.get(step.name, 0)
        work[step.id] = StepWork(count, num_done, 0, tuple(cut(step.id, count, 32)) if num_done < count else ())
    return work


def cluster(nodes: int = 1, gpus: int = 8, memory_gb: float = 80.0, **changes: Any) -> ClusterConfig:
    expect = ClusterExpectation(nodes=nodes, gpus_per_node=gpus, gpu_memory_gb=memory_gb)
    return ClusterConfig(name="local", expect=expect, **changes)


def shown(plan: Plan, estimates: Sequence[TimeEstimate]) -> str:
    """The printed text, in a terminal of 100 columns, its words one blank apart."""
    out = io.StringIO()
    console = Console(file=out, width=100)
    for part in render_estimates(plan, estimates):
        console.print(part, markup=False)
    assert max(map(len, out.getvalue().splitlines()), default=0) <= 100
    return " ".join(out.getvalue().split())


@pytest.fixture
def plan(planner: Planner) -> Plan:
    """A model and its judge, one GPU each."""
    return planner.plan(planner.config(EYE | JUDGE), device="cuda")


def test_one_gpu_does_everything_one_after_the_other(plan: Plan) -> None:
    estimated, _ = estimate_time(plan, rows(plan, 36_000), cluster(gpus=1), CORES)
    assert estimated.used_s.expected == pytest.approx(2 * 3600 + 100 + 50)
    assert estimated.wall_clock_s.expected == pytest.approx(EXPECTED.loss * (2 * 3600 + 100 + 50), rel=0.002)
    assert [engine.replicas for engine in estimated.engines.values()] == [1, 1]
    assert estimated.wall_clock_s.low < estimated.wall_clock_s.expected / 2 < 2 * estimated.wall_clock_s.expected
    assert estimated.wall_clock_s.high > 2 * estimated.wall_clock_s.expected


def test_twice_the_nodes_are_faster_and_load_more(plan: Plan) -> None:
    once, twice = estimate_time(plan, rows(plan, 36_000), cluster(nodes=2, gpus=4), CORES)
    assert (len(once.nodes), once.num_units, len(twice.nodes), twice.num_units) == (2, 8, 4, 16)
    assert once.wall_clock_s.expected / 2 < twice.wall_clock_s.expected < once.wall_clock_s.expected
    assert twice.used_s.expected > once.used_s.expected
    total = [sum(engine.replicas for engine in estimated.engines.values()) for estimated in (once, twice)]
    assert 2 <= total[0] < total[1]


def test_no_cluster_is_faster_than_a_rows_way(plan: Plan) -> None:
    estimated, more = estimate_time(plan, rows(plan, 1), cluster(nodes=100), CORES)
    legs = [(leg.what, plan.engines[leg.engine].name, leg.replicas) for leg in estimated.path]
    assert legs == [("load", "eye", 1), ("answer", "eye", 1), ("verdict", "judge_model", 1)]
    assert [leg.seconds for leg in estimated.path] == pytest.approx([100, 0.1, 0.1])
    assert estimated.wall_clock_s.expected == pytest.approx(EXPECTED.loss * 100.2, rel=0.06)
    assert more.wall_clock_s == estimated.wall_clock_s


def test_a_copy_is_not_loaded_for_less_work_than_its_load_is_worth(plan: Plan) -> None:
    estimated, _ = estimate_time(plan, rows(plan, 10), cluster(nodes=100), CORES)
    assert {engine.replicas for engine in estimated.engines.values()} == {1}


def test_the_critical_path_goes_through_the_work_that_takes_longest(planner: Planner) -> None:
    slow = {"judge.model.expect": JUDGE["judge.model.expect"] | {"tokens_per_s": 60.0}}  # type: ignore[operator]
    plan = planner.plan(planner.config(EYE | JUDGE | slow), device="cuda")
    estimated, _ = estimate_time(plan, rows(plan, 36_000), cluster(), CORES)
    verdicts = estimated.path[-1]
    assert (verdicts.what, plan.engines[verdicts.engine].name) == ("verdict", "judge_model")
    assert verdicts.replicas == estimated.engines[verdicts.engine].replicas > 1
    assert verdicts.seconds == pytest.approx(36_000 / verdicts.replicas)
    assert estimated.path_s < estimated.wall_clock_s.expected
    assert f"verdict by judge_model on {verdicts.replicas} replicas" in shown(plan, [estimated])


def test_what_the_store_has_is_not_reckoned(plan: Plan) -> None:
    estimated, _ = estimate_time(plan, rows(plan, 36_000, {"answer": 36_000}), cluster(gpus=1), CORES)
    assert [plan.engines[key].name for key in estimated.engines] == ["judge_model"]
    assert estimated.used_s.expected == pytest.approx(3600 + 50)
    done = estimate_time(plan, rows(plan, 10, {"answer": 10, "verdict": 10}), cluster(), CORES)
    assert done[0].wall_clock_s.high == done[0].used_s.high == done[0].path_s == 0
    assert shown(plan, done) == ""


def test_a_price_is_of_the_work_and_of_the_whole_cluster(plan: Plan) -> None:
    priced, _ = estimate_time(plan, rows(plan, 36_000), cluster(gpus=1, price_per_gpu_hour=3.6), CORES)
    cost, held = priced.cost(priced.used_s), priced.cost(priced.held_s)
    assert cost is not None
    assert held is not None
    assert cost.expected == pytest.approx(7.35)
    assert held.expected == pytest.approx(priced.wall_clock_s.expected / 1000)
    assert "cost, all GPUs kept" in shown(plan, [priced])
    free = estimate_time(plan, rows(plan, 36_000), cluster(gpus=1), CORES)
    assert "cost" not in shown(plan, free)
    assert estimates_to_json(plan, free)[0]["cost"] is None


def test_gpus_are_kept_until_only_an_endpoint_has_work_left(plan: Plan) -> None:
    engines = dict(plan.engines)
    (judge,) = (key for key, spec in engines.items() if spec.name == "judge_model")
    elsewhere = replace(engines[judge].traits, is_loaded=False, is_endpoint=True)
    engines[judge] = replace(engines[judge], num_gpus=0, device="cpu", traits=elsewhere)
    estimated = estimate_time(replace(plan, engines=engines), rows(plan, 36_000), cluster(), CORES)[0]
    assert estimated.wall_clock_s.expected == pytest.approx(EXPECTED.loss * (3600 + 100), rel=0.02)
    assert estimated.until_free_s.expected == pytest.approx(EXPECTED.loss * (3600 / 8 + 100), rel=0.02)
    assert estimated.held_s.expected == 8 * estimated.until_free_s.expected
    assert [engine.replicas for engine in estimated.engines.values()] == [8, 1]
    said = dict(summarise_estimates(plan, [estimated]))
    assert said[""].startswith("of it until no GPU is needed any more: 10 min (")
    assert "until no GPU is needed 10 min" in shown(plan, [estimated])


def test_once_measured_gpus_are_kept_as_long_as_the_simulator_says(plan: Plan) -> None:
    engines = dict(plan.engines)
    for key, spec in plan.engines.items():
        if spec.name == "judge_model":
            elsewhere = replace(spec.traits, is_loaded=False, is_endpoint=True)
            engines[key] = replace(spec, num_gpus=0, device="cpu", traits=elsewhere)
    datasets = {name: replace(dataset, num_rows=200) for name, dataset in plan.datasets.items()}
    plan = replace(plan, engines=engines, datasets=datasets)
    measured = Measured({key: [_measured(plan, key, 0.5 if spec.num_gpus else 2.0)] for key, spec in engines.items()})
    work, nodes = rows(plan, 200), [Node("here", "this machine", Resources(8, 1), 80.0)]
    estimated = estimate_on(plan, work, cluster(gpus=1), tuple(nodes), "gpu", measured)
    profiles = engine_profiles(plan, cluster(gpus=1), nodes, measured)
    done = Simulator(Case.draw(plan, work, World([(0.0, nodes[0])], profiles, spread=0.0)), profiles).run()
    assert done.gpus_until_s is not None
    assert done.gpus_until_s < 0.8 * done.wall_clock_s
    assert estimated.wall_clock_s.expected == pytest.approx(measured.overhead_s + done.wall_clock_s)
    assert estimated.until_free_s.expected == pytest.approx(measured.overhead_s + done.gpus_until_s)


def _measured(plan: Plan, engine: str, row_s: float) -> MeasuredEngine:
    """As a run has measured an engine that has answered one row after the other."""
    steps = {
        step.id: MeasuredStep(
            step.name, step.sampling.max_tokens, 50.0, AskedWork(100, 5000, 6000, 0, row_s * 100, row_s * 100)
        )
        for step in plan.steps.values()
        if step.engine == engine
    }
    return MeasuredEngine("run", 0.0, "", plan.engines[engine].num_gpus, 20.0, steps)


def test_what_fits_nowhere_is_said_and_left_out_with_what_reads_from_it(planner: Planner) -> None:
    large = planner.config(EYE | JUDGE | {"model.engine.tensor_parallel": 4})
    plan = planner.plan(large, device="cuda")
    estimated = estimate_time(plan, rows(plan, 100), cluster(gpus=2), CORES)
    [misfit] = estimated[0].misfits.values()
    assert misfit.startswith("engine 'eye' needs 4 GPUs and 1 cores for one replica; the cluster has 2 GPUs")
    assert (estimated[0].engines, estimated[0].wall_clock_s.expected) == ({}, 0)
    assert f"It does not fit: {misfit}." in shown(plan, estimated)
    judged = estimate_time(plan, rows(plan, 100, {"answer": 100}), cluster(gpus=2), CORES)
    assert judged[0].misfits == {}
    assert [plan.engines[key].name for key in judged[0].engines] == ["judge_model"]


def test_memory_is_compared_with_the_expected_gpus(planner: Planner) -> None:
    known = {"model.expect": {**EYE["model.expect"], "memory_gb": 30.0}}  # type: ignore[dict-item]
    config = planner.config(EYE | JUDGE | known | {"cluster.expect": {"gpu_memory_gb": 24.0}})
    plan = planner.plan(config, device="cuda")
    text = shown(plan, estimate_time(plan, rows(plan, 10), config.cluster, CORES))
    assert "eye - - - - 30.0 ? 36.7 24.0 no" in text
    assert "It does not fit: engine 'eye' needs 1 GPUs of 36.7 GB" in text
    plan = planner.plan(planner.config(EYE | JUDGE | known), device="cuda")
    text = shown(plan, estimate_time(plan, rows(plan, 10), cluster(), CORES))
    assert "eye 1 1 100 s 1.0 s 30.0 ? 36.7 80.0 yes" in text
    assert "judge_model 1 1 50 s 1.0 s ? ? ? ? ?" in text


def test_without_gpus_it_is_this_machine_and_its_cores(planner: Planner) -> None:
    plan = planner.plan(planner.config(EYE | JUDGE), device="cpu")
    [estimated] = estimate_time(plan, rows(plan, 36_000), cluster(price_per_gpu_hour=3.6), CORES)
    assert (estimated.unit, estimated.num_units) == ("core", CORES)
    assert [engine.replicas for engine in estimated.engines.values()] == [1, 1]
    # On cores a prompt's tokens take their time, too: here more than the reply.
    assert estimated.wall_clock_s.expected > 1.5 * EXPECTED.loss * 3700
    text = shown(plan, [estimated])
    assert "this machine, 4 cores" in text
    assert "core-hours of loads and work" in text
    assert not any(word in text for word in ("GPU-hours", "cost", "fits", "on twice"))


@pytest.mark.parametrize(("ram_gb", "copies"), [(0.0, 2), (100.0, 2), (8.1, 2), (7.9, 1), (1.0, 1)])
def test_on_cores_copies_are_planned_that_have_a_core_and_ram(planner: Planner, ram_gb: float, copies: int) -> None:
    """A replica takes 4 GB: 0.5 of weights, 0.5 of KV cache, and its processes. The judge's RAM is not known."""
    known = {"model.engine.kv_cache_gib": 0.4657, "model.expect": {**EYE["model.expect"], "memory_gb": 0.5}}  # type: ignore[dict-item]
    plan = planner.plan(planner.config(EYE | JUDGE | known), device="cpu")
    [estimated] = estimate_time(plan, rows(plan, 36_000), cluster(), CORES, ram_gb=ram_gb)
    replicas = {plan.engines[key].name: engine.replicas for key, engine in estimated.engines.items()}
    assert replicas == {"eye": copies, "judge_model": 1}
    limited = planner.config(EYE | JUDGE | known | {"cluster.max_replicas_per_engine": 1}).cluster
    [alone] = estimate_time(plan, rows(plan, 36_000), limited, CORES)
    assert {engine.replicas for engine in alone.engines.values()} == {1}


def test_stages_spread_over_nodes_leave_room_for_fewer_replicas(planner: Planner) -> None:
    config = planner.config(EYE | JUDGE | {"model.engine.tensor_parallel": 2, "model.engine.pipeline_parallel": 2})
    plan = planner.plan(config, device="cuda")
    nodes = tuple(Node(name, name, Resources(64, 2), 80.0) for name in "abc")
    estimated = estimate_on(plan, rows(plan, 36_000, {}), cluster(), nodes, "gpu")
    replicas = {plan.engines[key].name: engine.replicas for key, engine in estimated.engines.items()}
    assert replicas["eye"] == 1
    assert estimated.misfits == {}


def test_recordings_are_read_and_not_loaded(planner: Planner) -> None:
    replay = {"kind": "replay", "predictions": "predictions"}
    plan = planner.plan(planner.config(JUDGE | {"model.engine": replay}), device="cuda")
    estimates = estimate_time(plan, rows(plan, 36_000), cluster(), CORES)
    [once, twice] = estimates_to_json(plan, estimates)
    assert (once["loads"], len(once["engines"])) == (estimates[0].engines[_key(plan, "judge_model")].replicas, 2)
    assert (once["nodes"], twice["nodes"], once["gpus"]) == (1, 2, 8)
    assert once["gpu_hours"]["low"] < once["gpu_hours"]["expected"] < once["gpu_hours"]["high"]
    assert json.loads(json.dumps([once, twice])) == [once, twice]


def _key(plan: Plan, name: str) -> str:
    [key] = [key for key, spec in plan.engines.items() if spec.name == name]
    return key

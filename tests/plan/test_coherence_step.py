"""Measuring coherence: one more step that reads the answers, and changes nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.errors import ConfigError, PlanError
from eibench_ray.estimate.engine_profiles import engine_need
from eibench_ray.estimate.plan_json import plan_to_json
from eibench_ray.estimate.time_estimate import estimate_time
from eibench_ray.runs.planning import plan_sweep
from eibench_ray.schedule.gpu_usage import step_roles
from eibench_ray.schedule.replica_meter import TimeKind

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.plan.graph import Plan

ENGINE = {"kind": "embedding", "source": "checkpoint:minilm", "pooling": "mean", "splitter": "sentencizer"}


def measure(**engine: Any) -> dict[str, Any]:
    return {"name": "minilm", "engine": ENGINE | engine}


def coherence_id(plan: Plan) -> str:
    [step] = [step.id for step in plan.steps.values() if step.name == "coherence"]
    return step


def test_a_cell_is_what_it_was_and_one_step_more(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    bare = sweeps.plan(sweeps.config("noted")).plan
    plan = sweeps.plan(sweeps.config("noted", coherence=measure())).plan
    [before], [cell] = bare.cells, plan.cells
    assert before.coherence is None
    assert cell.coherence == coherence_id(plan)
    assert cell.steps == (*before.steps, cell.coherence)
    assert (cell.answer, cell.verdict) == (before.answer, before.verdict)
    assert plan.steps[cell.coherence].inputs == {"answer": cell.answer}
    assert sweeps.plan(sweeps.config("noted", coherence=None)).plan.cells[0].key == before.key


def test_cells_with_the_same_answers_share_the_step(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    configs = [
        sweeps.config(setting, judge, coherence=measure())
        for setting in ("plain", "brief")
        for judge in ("strict", "again")
    ]
    cells = sweeps.plan(*configs).plan.cells
    assert [cells[0].coherence, cells[2].coherence] == [cells[1].coherence, cells[3].coherence]
    assert cells[0].coherence != cells[2].coherence


@pytest.mark.parametrize(
    "engine", [{"pooling": "cls"}, {"splitter": "en_core_web_sm"}, {"dtype": "bfloat16"}, {"source": "me/bert"}]
)
def test_another_measurement_is_another_step(sweeps: Sweeps, engine: dict[str, str]) -> None:
    sweeps.write_dataset()
    steps = {coherence_id(sweeps.plan(sweeps.config(coherence=measure(**changes))).plan) for changes in ({}, engine)}
    assert len(steps) == 2


def test_how_it_runs_is_no_part_of_what_it_is(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    ways: list[dict[str, int]] = [{}, {"max_num_seqs": 8}, {"num_gpus": 0}]
    assert len({coherence_id(sweeps.plan(sweeps.config(coherence=measure(**way))).plan) for way in ways}) == 1


def test_the_dry_run_counts_its_load_and_its_requests(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(*(sweeps.config(judge=judge, coherence=measure()) for judge in ("strict", "again")))
    estimates = estimate_time(sweep.plan, sweep.work, sweep.config.cluster, cores=2)
    facts = plan_to_json(sweep.plan, sweep.work, "store", estimates)
    [engine] = [engine for engine in facts["engines"] if engine["kind"] == "embedding"]
    assert (engine["name"], engine["loads"], engine["steps"], engine["requests"]) == ("minilm", 1, 1, 10)
    assert (engine["expected_tokens"], engine["est_tokens"], engine["memory"]) == (10, 10, None)
    assert facts["requests"] == 40  # answers, two judges' verdicts, coherence
    assert [cell["requests"] for cell in facts["cells"]] == [30, 30]


@pytest.mark.parametrize(("num_gpus", "device", "owned"), [(1, "cuda", 1), (0, "cuda", 0), (1, "cpu", 0)])
def test_a_replica_reserves_a_gpu_or_cores_alone(sweeps: Sweeps, num_gpus: int, device: Any, owned: int) -> None:
    sweeps.write_dataset()
    config = sweeps.config(coherence=measure(num_gpus=num_gpus))
    plan = plan_sweep([config], must_exist=True, device=device).plan
    [spec] = [spec for spec in plan.engines.values() if spec.kind == "embedding"]
    [bundle] = engine_need(spec, config.cluster, []).bundles
    assert (bundle.gpus, bundle.cpus) == (owned, 1)


def test_its_time_is_judging(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    plan = sweeps.plan(sweeps.config(coherence=measure())).plan
    roles = {plan.steps[step].name: kind for step, kind in step_roles(plan).items()}
    assert roles == {"answer": TimeKind.GENERATING, "verdict": TimeKind.JUDGING, "coherence": TimeKind.JUDGING}


def test_one_sweep_measures_in_one_way(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    configs = [sweeps.config(coherence=measure(pooling=pooling)) for pooling in ("cls", "mean")]
    with pytest.raises(PlanError, match="coherence differs between the cells"):
        sweeps.plan(*configs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "max"}, r"coherence\.engine\.pooling is 'max'"),
        ({"splitter": "../evil"}, r"coherence\.engine\.splitter is '\.\./evil'"),
        ({"num_gpus": 2}, r"coherence\.engine\.num_gpus is 2"),
        ({"tensor_parallel": 2}, r"coherence\.engine\.tensor_parallel: there is no such key"),
    ],
)
def test_a_wrong_value_is_named(sweeps: Sweeps, changes: dict[str, Any], message: str) -> None:
    from eibench_ray.config.load import to_config

    raw = sweeps.config().model_dump() | {"coherence": measure(**changes)}
    with pytest.raises(ConfigError, match=message):
        to_config(raw)


def test_an_encoder_is_no_model_under_test(sweeps: Sweeps) -> None:
    from eibench_ray.config.load import to_config

    raw = sweeps.config().model_dump()
    raw["model"]["engine"] = ENGINE
    with pytest.raises(ConfigError, match="embedding"):
        to_config(raw)


def test_planning_and_scoring_load_neither_torch_nor_spacy() -> None:
    code = (
        "import sys, eibench_ray.runs.planning, eibench_ray.runs.results, eibench_ray.engines.embedding.sentences; "
        "print([name for name in ('torch', 'spacy', 'transformers', 'ray', 'vllm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_plan_with_it_is_recorded_and_read_again(sweeps: Sweeps) -> None:
    from pydantic import TypeAdapter

    from eibench_ray.plan.graph import Plan

    sweeps.write_dataset()
    plan = sweeps.plan(sweeps.config(coherence=measure())).plan
    adapter = TypeAdapter(Plan)
    read = adapter.validate_python(adapter.dump_python(plan, mode="json"))
    assert read.engines == plan.engines
    assert replace(read.cells[0], config={}) == replace(plan.cells[0], config={})

"""Measuring coherence: one more step that reads the answers, and changes nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from coherence_judge import COHERENCE
from pydantic import TypeAdapter

from eibench_ray.config.load import to_config
from eibench_ray.errors import ConfigError
from eibench_ray.estimate.engine_profiles import engine_need
from eibench_ray.estimate.plan_json import plan_to_json
from eibench_ray.estimate.time_estimate import estimate_time
from eibench_ray.plan.graph import Plan
from eibench_ray.runs.planning import plan_sweep
from eibench_ray.schedule.gpu_usage import step_roles
from eibench_ray.schedule.replica_meter import TimeKind

if TYPE_CHECKING:
    from conftest import Sweeps


def measure(**engine: Any) -> dict[str, Any]:
    """The judge with another engine."""
    model = COHERENCE["model"]
    return {**COHERENCE, "model": {**model, "engine": {**model["engine"], **engine}}}


def measuring(sweeps: Sweeps, **engine: Any) -> Plan:
    return sweeps.plan(sweeps.config(judge=measure(**engine))).plan


def test_the_answers_are_shared_with_other_judges_and_asked_whole(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    plan = sweeps.plan(sweeps.config("noted"), sweeps.config("noted", measure())).plan
    judged, measured = plan.cells
    assert measured.answer == judged.answer
    [step] = measured.verdicts
    assert plan.steps[step].inputs == {"answer": measured.answer}
    assert (plan.steps[step].prompt.user, plan.steps[step].sampling.max_tokens) == ("{{ answer }}", 1)
    assert measured.steps == (*judged.steps[:-1], step)
    assert not measured.self_judged


@pytest.mark.parametrize(
    "engine", [{"pooling": "cls"}, {"splitter": "en_core_web_sm"}, {"dtype": "bfloat16"}, {"source": "me/bert"}]
)
def test_another_measurement_is_another_step(sweeps: Sweeps, engine: dict[str, str]) -> None:
    sweeps.write_dataset()
    assert len({measuring(sweeps, **changes).cells[0].verdicts for changes in ({}, engine)}) == 2


def test_how_it_runs_is_no_part_of_what_it_is(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    ways: list[dict[str, int]] = [{}, {"max_num_seqs": 8}, {"num_gpus": 0}]
    assert len({measuring(sweeps, **way).cells[0].verdicts for way in ways}) == 1


def test_the_dry_run_counts_its_load_and_its_requests(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan(*(sweeps.config(judge=judge) for judge in ("strict", "again", measure())))
    estimates = estimate_time(sweep.plan, sweep.work, sweep.config.cluster, cores=2)
    facts = plan_to_json(sweep.plan, sweep.work, "store", estimates)
    [engine] = [engine for engine in facts["engines"] if engine["kind"] == "embedding"]
    assert (engine["name"], engine["loads"], engine["steps"], engine["requests"]) == ("minilm", 1, 1, 10)
    assert (engine["expected_tokens"], engine["est_tokens"], engine["memory"]) == (10, 10, None)
    assert facts["requests"] == 40  # answers, two judges' verdicts, coherence
    assert [cell["requests"] for cell in facts["cells"]] == [20, 20, 20]


@pytest.mark.parametrize(("num_gpus", "device", "owned"), [(1, "cuda", 1), (0, "cuda", 0), (1, "cpu", 0)])
def test_a_replica_reserves_a_gpu_or_cores_alone(sweeps: Sweeps, num_gpus: int, device: Any, owned: int) -> None:
    sweeps.write_dataset()
    config = sweeps.config(judge=measure(num_gpus=num_gpus))
    plan = plan_sweep([config], must_exist=True, device=device).plan
    [spec] = [spec for spec in plan.engines.values() if spec.kind == "embedding"]
    [bundle] = engine_need(spec, config.cluster, []).bundles
    assert (bundle.gpus, bundle.cpus) == (owned, 1)


def test_its_time_is_judging(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    plan = measuring(sweeps)
    roles = {plan.steps[step].name: kind for step, kind in step_roles(plan).items()}
    assert roles == {"answer": TimeKind.GENERATING, "verdict": TimeKind.JUDGING}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "max"}, r"judge\.model\.engine\.pooling is 'max'"),
        ({"splitter": "../evil"}, r"judge\.model\.engine\.splitter is '\.\./evil'"),
        ({"num_gpus": 2}, r"judge\.model\.engine\.num_gpus is 2"),
        ({"tensor_parallel": 2}, r"judge\.model\.engine\.tensor_parallel: there is no such key"),
    ],
)
def test_a_wrong_value_is_named(sweeps: Sweeps, changes: dict[str, Any], message: str) -> None:
    raw = sweeps.config().model_dump() | {"judge": measure(**changes)}
    with pytest.raises(ConfigError, match=message):
        to_config(raw)


@pytest.mark.parametrize("role", ["model", "captioner", "asker"])
def test_an_encoder_answers_no_calls(sweeps: Sweeps, role: str) -> None:
    raw = sweeps.config().model_dump() | {role: measure()["model"]}
    with pytest.raises(ConfigError, match=rf"{role}\.engine\.kind .*embedding.* says nothing in words"):
        to_config(raw)


def test_an_encoder_is_no_judge_in_words_and_a_model_measures_nothing(sweeps: Sweeps) -> None:
    strict = sweeps.config().model_dump()
    strict["judge"]["model"] = measure()["model"]
    with pytest.raises(ConfigError, match=r"judge\.model\.engine\.kind .*embedding.* says nothing in words"):
        to_config(strict)
    with pytest.raises(ConfigError, match="coherence is measured by an engine of the kind embedding"):
        to_config(sweeps.config().model_dump() | {"judge": {**COHERENCE, "model": sweeps.config().model.model_dump()}})


def test_a_plan_with_it_is_recorded_and_read_again(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    plan = measuring(sweeps)
    adapter = TypeAdapter(Plan)
    read = adapter.validate_python(adapter.dump_python(plan, mode="json"))
    assert read.engines == plan.engines
    assert replace(read.cells[0], config={}) == replace(plan.cells[0], config={})


def test_planning_and_scoring_load_neither_torch_nor_spacy() -> None:
    code = (
        "import sys, eibench_ray.runs.planning, eibench_ray.runs.results, eibench_ray.engines.embedding.sentences; "
        "print([name for name in ('torch', 'spacy', 'transformers', 'ray', 'vllm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

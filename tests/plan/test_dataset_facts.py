"""Facts on which a plan rests: what makes two engines the same one, and what a dataset says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray import __version__
from eibench_ray.config.schema import DatasetConfig, ModelConfig
from eibench_ray.engines.chat_templates import template_file
from eibench_ray.errors import DataError, PlanError
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.planner.dataset_facts import read_dataset_facts
from eibench_ray.planner.engine_specs import engine_identity, engine_memory
from eibench_ray.weights.memory_estimate import MemoryEstimate

if TYPE_CHECKING:
    from conftest import Planner


def vllm(**engine: Any) -> ModelConfig:
    base = {"kind": "vllm", "source": "me/eye", "max_model_len": 512}
    return ModelConfig.model_validate({"name": "eye", "sees_image": True, "engine": base | engine})


@pytest.mark.parametrize(
    "change",
    [
        {"max_num_seqs": 8},
        {"tensor_parallel": 2},
        {"pipeline_parallel": 2},
        {"kv_cache_gib": 0.5},
        {"gpu_memory_utilization": 0.5},
        {"enforce_eager": True},
        {"env": {"OMP_NUM_THREADS": "1"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_how_an_engine_runs_is_no_part_of_what_it_is(change: Mapping[str, Any]) -> None:
    assert engine_identity(vllm(**change), None) == engine_identity(vllm(), None)


@pytest.mark.parametrize(
    "change",
    [
        {"source": "me/ear"},
        {"revision": "v2"},
        {"dtype": "float16"},
        {"quantization": "awq"},
        {"max_model_len": 1024},
        {"args": {"seed": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_an_answer_depends_on_is_part_of_what_an_engine_is(change: Mapping[str, Any]) -> None:
    assert engine_identity(vllm(**change), None) != engine_identity(vllm(), None)


def in_transformers(**engine: Any) -> ModelConfig:
    base = {"kind": "transformers", "source": "me/eye"}
    return ModelConfig.model_validate({"name": "eye", "sees_image": True, "engine": base | engine})


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"max_num_seqs": 1}, True),
        ({"num_gpus": 2}, True),
        ({"env": {"OMP_NUM_THREADS": "1"}}, True),
        ({"source": "me/ear"}, False),
        ({"revision": "v2"}, False),
        ({"dtype": "float16"}, False),
        ({"max_model_len": 1024}, False),
        ({"runtime_env": {"uv": ["transformers==5.0"]}}, False),
    ],
    ids=lambda change: next(iter(change)) if isinstance(change, dict) else "",
)
def test_a_model_in_transformers_is_what_its_answers_depend_on(change: Mapping[str, Any], is_same: bool) -> None:
    assert (engine_identity(in_transformers(**change), None) == engine_identity(in_transformers(), None)) is is_same


def test_one_model_in_two_engines_is_two() -> None:
    assert engine_identity(in_transformers(), None) != engine_identity(vllm(), None)


def test_a_chat_template_of_its_own_makes_another_model_in_transformers(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    named = in_transformers(chat_template=str(tmp_path / "chat.jinja"))
    assert engine_identity(named, None) != engine_identity(in_transformers(), None)


def endpoint(**engine: Any) -> ModelConfig:
    base = {"kind": "openai", "endpoint": "openai", "base_url": "https://here/v1", "model": "gpt"}
    return ModelConfig.model_validate({"name": "gpt", "sees_image": True, "engine": base | engine})


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": "https://there/v1"},
        {"api_key_env": "OTHER_API_KEY"},
        {"mode": "batch"},
        {"logprobs": True},
        {"price": {"input": 1.0, "output": 2.0}},
        {"limits": {"requests_per_min": 5.0}},
        {"request_timeout_s": 5.0},
        {"attempts": 1},
        {"outage_timeout_s": 5.0},
        {"batch": {"poll_s": 5.0}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_how_an_endpoint_is_asked_is_no_part_of_what_it_is(change: Mapping[str, Any]) -> None:
    assert engine_identity(endpoint(**change), None) == engine_identity(endpoint(), None)


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "azure"},
        {"model": "gpt-2"},
        {"revision": "may"},
        {"json_output": "none"},
        {"max_tokens_key": "max_completion_tokens"},
        {"sends_sampling": False},
        {"sends_seed": False},
        {"reasoning_effort": "low"},
        {"reasoning_tokens": 100},
        {"picture": {"max_side_px": 512}},
        {"args": {"top_k": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_an_endpoint_is_told_is_part_of_what_it_is(change: Mapping[str, Any]) -> None:
    assert engine_identity(endpoint(**change), None) != engine_identity(endpoint(), None)


def test_memory_is_the_checkpoints_before_it_is_the_prior(tmp_path: Path) -> None:
    prior = {"expect": Expectation(memory_gb=7.0)}
    assert engine_memory(vllm()) is None
    assert engine_memory(vllm().model_copy(update=prior)) == MemoryEstimate(7.0, "expect")
    shape = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 1}
    (tmp_path / "config.json").write_text(json.dumps(shape))
    (tmp_path / "model.safetensors.index.json").write_text('{"metadata": {"total_size": 5}, "weight_map": {"a": "b"}}')
    for args, bytes_per_token in (({}, 4), ({"kv_cache_dtype": "fp8"}, 2)):
        model = vllm(source=str(tmp_path), dtype="bfloat16", quantization="awq", args=args)
        known = engine_memory(model.model_copy(update=prior))
        assert known == MemoryEstimate(5e-9, "checkpoint", bytes_per_token / 1e9, 1, 1)


def test_an_engine_without_weights_takes_no_memory() -> None:
    model = ModelConfig.model_validate({"name": "echo", "sees_image": True, "engine": {"kind": "echo"}})
    assert engine_memory(model) is None


def test_a_models_name_is_no_part_of_its_engine() -> None:
    renamed = vllm().model_copy(update={"name": "other", "system": "Be kind.", "sees_image": False})
    assert engine_identity(renamed, None) == engine_identity(vllm(), None)


def test_a_chat_template_counts_by_its_content(tmp_path: Path) -> None:
    here, there = tmp_path / "a.jinja", tmp_path / "b.jinja"
    here.write_text("{{ messages }}")
    there.write_text("{{ messages }}")
    same = [engine_identity(vllm(chat_template=str(path)), None) for path in (here, there)]
    assert same[0] == same[1] != engine_identity(vllm(), None)
    there.write_text("{{ messages }}!")
    assert engine_identity(vllm(chat_template=str(there)), None) != same[0]
    there.write_text(template_file("package:qwen_vl_chat.jinja").read_text())
    again = engine_identity(vllm(chat_template="package:qwen_vl_chat.jinja"), None)
    assert engine_identity(vllm(chat_template=str(there)), None) == again


def test_a_chat_template_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"gone\.jinja cannot be read \(No such file"):
        engine_identity(vllm(chat_template=str(tmp_path / "gone.jinja")), None)
    with pytest.raises(PlanError, match=r"chat_templates/gone\.jinja cannot be read"):
        engine_identity(vllm(chat_template="package:gone.jinja"), None)


def test_recorded_predictions_count_by_their_content(tmp_path: Path) -> None:
    model = ModelConfig.model_validate(
        {"name": "old", "sees_image": True, "engine": {"kind": "replay", "predictions": str(tmp_path)}}
    )
    recording = tmp_path / "demo.look.jsonl"
    before = engine_identity(model, str(recording))
    recording.write_text('{"a.png": "sun"}\n')
    written = engine_identity(model, str(recording))
    recording.write_text('{"a.png": "sea"}\n')
    assert len({str(before), str(written), str(engine_identity(model, str(recording)))}) == 3


def test_an_engine_of_the_projects_own_counts_by_the_projects_version() -> None:
    model = ModelConfig.model_validate({"name": "echo", "sees_image": True, "engine": {"kind": "echo"}})
    assert engine_identity(model, None)["version"] == __version__


def test_a_prepared_dataset_says_what_it_has(planner: Planner) -> None:
    facts = read_dataset_facts(planner.config().dataset, must_exist=True)
    assert (facts.num_rows, facts.whole, facts.protocol, facts.is_prepared) == (
        3,
        {"question", "caption", "emotion", "reference"},
        None,
        True,
    )
    limited = planner.config({"dataset.limit": 2}).dataset
    assert read_dataset_facts(limited, must_exist=True).num_rows == 2


@pytest.mark.parametrize(("limit", "num_rows"), [(None, 50), (7, 7), (70, 50)])
def test_a_dataset_that_is_not_prepared_is_planned_as_expected(
    tmp_path: Path, limit: int | None, num_rows: int
) -> None:
    config = DatasetConfig(name="far", path=str(tmp_path / "far"), expect_rows=50, limit=limit)
    facts = read_dataset_facts(config, must_exist=False)
    assert (facts.num_rows, facts.is_prepared) == (num_rows, False)
    with pytest.raises(DataError, match="there is no prepared dataset there"):
        read_dataset_facts(config, must_exist=True)


def test_a_dataset_of_unknown_size_must_be_prepared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no prepared dataset there"):
        read_dataset_facts(DatasetConfig(name="far", path=str(tmp_path / "far")), must_exist=False)


def test_a_broken_dataset_is_not_taken_for_one_that_is_to_come(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="what lies there is not a prepared dataset"):
        read_dataset_facts(DatasetConfig(name="far", path=str(tmp_path), expect_rows=50), must_exist=False)

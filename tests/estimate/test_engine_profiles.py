"""Needs of engines on a cluster, and the words for what does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.registry import engine_spec
from eibench_ray.engines.replay import ReplaySection
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.estimate.engine_profiles import describe_misfit, engine_need, engine_profiles, fits
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import DatasetSpec, EngineSpec, MemoryFit, Plan, Prompt, Step
from eibench_ray.rows.request import Sampling
from eibench_ray.schedule.resources import Need, Node, Resources

CONFIG = ClusterConfig(name="local", cpus_per_replica=2)
MEMORY = MemoryFit(weights_gb=140, kv_gb=4, gpu_memory_gb=30, available_gb=80, source="checkpoint")


def vllm(tensor_parallel: int, pipeline_parallel: int) -> EngineSpec:
    sizes: dict[str, Any] = {"tensor_parallel": tensor_parallel, "pipeline_parallel": pipeline_parallel}
    engine = VllmSection(kind="vllm", source="a/model", max_model_len=64, **sizes)
    return engine_spec("key", "large", engine, "cuda", None, engine.num_gpus, Expectation(), MEMORY)


def node(gpus: float, memory_gb: float = 80) -> Node:
    return Node(f"id{gpus:g}", f"box{gpus:g}", Resources(64, gpus), memory_gb)


@pytest.mark.parametrize(
    ("sizes", "gpus", "bundles"),
    [
        ((4, 1), [8], [(2, 4)]),
        ((4, 1), [2], [(2, 4)]),
        ((4, 2), [8], [(2, 8)]),
        ((4, 2), [4, 4], [(2, 4), (2, 4)]),
        ((1, 3), [1], [(2, 1)] * 3),
    ],
)
def test_stages_are_apart_only_where_no_node_holds_them_all(
    sizes: tuple[int, int], gpus: list[float], bundles: list[tuple[float, float]]
) -> None:
    need = engine_need(vllm(*sizes), CONFIG, [node(count) for count in gpus])
    assert need == Need(tuple(Resources(*bundle) for bundle in bundles), 30)


def test_what_computes_nothing_needs_nothing() -> None:
    replay = engine_spec("r", "r", ReplaySection(kind="replay", predictions="."), "cuda", "file", 0, Expectation())
    echo = engine_spec("e", "e", EchoSection(kind="echo"), "cuda", None, 0, Expectation())
    slots = engine_spec("s", "s", EchoSection(kind="echo", num_gpus=1), "cpu", None, 1, Expectation())
    config = OpenaiSection(kind="openai", endpoint="local", base_url="http://127.0.0.1:9/v1", model="m")
    endpoint = engine_spec("o", "o", config, "cuda", None, 0, Expectation())
    needs = [engine_need(spec, CONFIG, []).bundles for spec in (replay, echo, endpoint, slots)]
    assert needs == [(), (), (), (Resources(2, 1),)]


def test_a_model_in_transformers_reserves_cores_and_its_gpus() -> None:
    config = TransformersSection(kind="transformers", source="a/model", num_gpus=2)
    specs = [engine_spec("t", "t", config, "cuda", None, num_gpus, Expectation()) for num_gpus in (2, 0)]
    needs = [engine_need(spec, CONFIG, []).bundles for spec in specs]
    assert needs == [(Resources(2, 2),), (Resources(2, 0),)]


def test_what_does_not_fit_is_named_with_the_largest_node() -> None:
    need = engine_need(vllm(4, 1), CONFIG, [])
    nodes = [node(2), node(4, 24)]
    assert not fits(need, nodes)
    assert fits(need, [node(8)])
    assert describe_misfit("large", need, nodes) == (
        "engine 'large' needs 4 GPUs of 30 GB and 2 cores for one replica; the cluster has 4 GPUs of 24 GB and 64 "
        "cores on its largest node (box4), of 2"
    )
    assert describe_misfit("large", need, []).endswith("the cluster has no node")


@pytest.mark.parametrize(
    ("limits", "mode", "tokens_per_s", "capacity"),
    [
        ({}, "online", 1000.0, 64),
        ({"requests_per_min": 30.0}, "online", 50.0, 3),  # a reply of 100 tokens every two seconds
        ({"requests_per_min": 6.0}, "online", 10.0, 1),
        ({"requests_per_min": 6e6}, "online", 1000.0, 64),
        ({"tokens_per_min": 6000.0}, "online", 50.0, 3),  # prompts of 100 tokens are within it, too
        ({"tokens_per_min": 6000.0, "requests_per_min": 6.0}, "online", 10.0, 1),
        ({"requests_per_min": 6.0}, "batch", 1000.0, 50_000),
    ],
)
def test_an_endpoint_is_no_faster_than_its_limits(
    limits: dict[str, Any], mode: Any, tokens_per_s: float, capacity: int
) -> None:
    engine = OpenaiSection(kind="openai", endpoint="e", base_url="http://e", model="m", mode=mode, limits=limits)
    spec = engine_spec("key", "m", engine, "cpu", None, 0, Expectation(tokens_per_row=100.0))
    prompt = Prompt(None, 4 * 92 * "x", image=False, is_official=False)
    step = Step("step", "answer", "key", prompt, Sampling(0.0, 1.0, 200), 0, "faces", {})
    dataset = DatasetSpec("faces", "faces", None, 10, is_prepared=True)
    plan = Plan("sweep", {"key": spec}, {"faces": dataset}, {"step": step}, ())
    profile = engine_profiles(plan, CONFIG, [])["key"]
    assert (profile.tokens_per_s, profile.capacity) == (pytest.approx(tokens_per_s), capacity)


def test_endpoints_of_one_account_share_its_limits_by_what_they_have_to_do() -> None:
    limits = {"pool": "account", "requests_per_min": 60.0}
    engine = OpenaiSection(kind="openai", endpoint="e", base_url="http://e", model="m", limits=limits)
    specs = {key: engine_spec(key, key, engine, "cpu", None, 0, Expectation(tokens_per_row=100.0)) for key in "ab"}
    prompt, sampling = Prompt(None, "", image=False, is_official=False), Sampling(0.0, 1.0, 200)
    steps = {name: Step(name, name, name[0], prompt, sampling, 0, "faces", {}) for name in ("a1", "a2", "a3", "b1")}
    dataset = DatasetSpec("faces", "faces", None, 10, is_prepared=True)
    profiles = engine_profiles(Plan("sweep", specs, {"faces": dataset}, steps, ()), CONFIG, [])
    assert {key: one.tokens_per_s for key, one in profiles.items()} == {"a": 75.0, "b": 25.0}  # a reply a second in all

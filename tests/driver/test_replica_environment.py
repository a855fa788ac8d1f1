"""The environment of a replica's process, and what becomes of an engine whose own one cannot be had."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import ray
from pydantic import TypeAdapter, ValidationError
from ray.exceptions import RuntimeEnvSetupError

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.engine_section import AnyEngineSection, EngineSection
from eibench_ray.driver.replica_environment import replica_runtime_env, setup_failure
from eibench_ray.engines.loaded_section import EnvironmentSection
from eibench_ray.engines.registry import engine_spec
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.plan.graph import EngineSpec

if TYPE_CHECKING:
    from conftest import Called

VLLM = {"kind": "vllm", "source": "me/eye", "max_model_len": 512}
CLUSTER = ClusterConfig(name="local", num_cpus=2, num_gpus=0, start_timeout_s=90.0)


def spec(engine: Mapping[str, Any] = {}, device: Literal["cpu", "cuda"] = "cuda") -> EngineSpec:
    raw = dict(engine) if "kind" in engine else VLLM | dict(engine)
    config: EngineSection = TypeAdapter(AnyEngineSection).validate_python(raw)
    return engine_spec("key", "eye", config, device, None, 0, Expectation())


def variables(replica_id: int = 1, engine: Mapping[str, Any] = {}, device: Literal["cpu", "cuda"] = "cuda") -> Any:
    return replica_runtime_env(spec(engine, device), CLUSTER, replica_id)["env_vars"]


def test_replicas_of_one_vllm_share_what_they_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CACHE_ROOT", "/cache")
    assert variables(1) == variables(2)
    assert "VLLM_CACHE_ROOT" not in variables(1)
    own = {"runtime_env": {"uv": ["vllm==0.31.0"]}}
    assert variables(1, own)["VLLM_CACHE_ROOT"] == variables(2, own)["VLLM_CACHE_ROOT"]
    assert variables(1, own)["VLLM_CACHE_ROOT"].startswith("/cache/eibench_ray/environment-")


def test_tokens_are_drawn_without_flashinfer_on_gpus() -> None:
    assert variables()["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    assert "VLLM_USE_FLASHINFER_SAMPLER" not in variables(device="cpu")


def test_eager_engines_on_a_cpu_compile_nothing() -> None:
    eager = {"enforce_eager": True}
    assert variables(engine=eager, device="cpu")["TORCHDYNAMO_DISABLE"] == "1"
    assert "TORCHDYNAMO_DISABLE" not in variables(device="cpu")
    assert "TORCHDYNAMO_DISABLE" not in variables(engine=eager)
    assert variables(engine=eager | {"env": {"TORCHDYNAMO_DISABLE": "0"}}, device="cpu")["TORCHDYNAMO_DISABLE"] == "0"


def test_environments_do_not_share_what_their_vllm_keeps() -> None:
    roots = {
        variables(1, {"enforce_eager": True, "runtime_env": {"uv": [f"vllm=={version}"]}})["VLLM_CACHE_ROOT"]
        for version in ("0.30.0", "0.31.0")
    }
    assert len(roots) == 2


def test_the_configured_variables_win() -> None:
    chosen = {"VLLM_CACHE_ROOT": "/mine", "VLLM_LOGGING_LEVEL": "DEBUG"}
    assert variables(1, {"env": chosen}).items() >= chosen.items()


def test_a_model_in_transformers_gets_its_variables() -> None:
    given = variables(1, {"kind": "transformers", "source": "me/eye", "env": {"HF_HUB_OFFLINE": "1"}})
    assert given["HF_HUB_OFFLINE"] == "1"
    assert "VLLM_CACHE_ROOT" not in given


def test_on_a_cpu_the_threads_are_the_reserved_cores() -> None:
    assert variables(device="cpu")["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in variables()


@pytest.mark.parametrize(
    ("configured", "asked_of_ray"),
    [
        (None, {}),
        (
            {"uv": ["vllm==0.31.0"], "options": ["--override", "/o"]},
            {
                "uv": {"packages": ["vllm==0.31.0"], "uv_pip_install_options": ["--override", "/o"]},
                "config": {"setup_timeout_seconds": 90},
            },
        ),
        (
            {"pip": ["vllm==0.31.0"]},
            {
                "pip": {"packages": ["vllm==0.31.0"], "pip_install_options": ["--disable-pip-version-check"]},
                "config": {"setup_timeout_seconds": 90},
            },
        ),
        ({"py_executable": "/my envs/bin/python"}, {"py_executable": "'/my envs/bin/python'"}),
    ],
)
def test_what_ray_is_asked_for(configured: Mapping[str, Any] | None, asked_of_ray: Mapping[str, Any]) -> None:
    asked = replica_runtime_env(spec({"runtime_env": configured}), CLUSTER, 1)
    del asked["env_vars"]
    assert asked == asked_of_ray


@pytest.mark.parametrize(
    ("configured", "reason"),
    [
        ({}, "set one of uv, pip and py_executable"),
        ({"uv": ["a"], "pip": ["b"]}, "set one of uv, pip and py_executable"),
        ({"uv": []}, "at least 1 item"),
        ({"py_executable": "venv/bin/python"}, "pattern"),
        ({"py_executable": "/bin/python", "options": ["--no-deps"]}, "options are for uv and pip"),
        ({"uv": ["a"], "options": ["--index-url", "https://me:word@index.example/simple"]}, "looks like a secret"),
        ({"pip": ["a @ https://t0ken@files.example/a.whl"]}, "looks like a secret"),
    ],
)
def test_an_environment_that_cannot_be_meant_is_refused(configured: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        EnvironmentSection.model_validate(configured)


UNSOLVABLE = """Failed to set up runtime environment.
[Node 192.0.2.2] Traceback (most recent call last):
  File "uv.py", line 240, in _install_uv_packages
Command '['python', '-m', 'uv', 'pip', 'install']' returned non-zero exit status 1.
Last 50 lines of stdout:
    Using Python 3.11.7 environment at: virtualenv
    error: No solution found when resolving dependencies
      cause: Because nosuch was not found in the package registry, your requirements are unsatisfiable.
"""


@pytest.mark.parametrize(
    ("said", "reason", "remedy"),
    [
        (UNSOLVABLE, "No solution found when resolving dependencies cause: Because nosuch", "correct model.engine"),
        ("RuntimeError: Please install virtualenv `python -m pip install virtualenv`", "virtualenv", "beside Ray"),
        ("Last 50 lines of stdout:\n    /venv/bin/python: No module named pip", "No module named pip", "beside Ray"),
        ("Failed to install runtime_env within the timeout of 90 seconds.", "timeout of 90", "cluster.start_timeout_s"),
    ],
)
def test_a_failed_installation_is_told_in_one_paragraph(said: str, reason: str, remedy: str) -> None:
    message = str(setup_failure(RuntimeEnvSetupError(said)))
    assert reason in message
    assert remedy in message
    assert "\n" not in message
    assert "Traceback" not in message


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has what this one has, and one package more."""
    folder = tmp_path_factory.mktemp("other")
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "own_package.py").write_text("VERSION = 'of its own'\n")
    (site / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin" / "python"


@pytest.mark.usefixtures("ray_here")
def test_a_replica_runs_in_the_python_that_its_engine_names_and_is_as_nice_as_the_command(other_python: Path) -> None:
    engine = {"kind": "echo", "runtime_env": {"py_executable": str(other_python)}}

    def ask() -> tuple[str, str, int]:
        import own_package

        return own_package.VERSION, sys.prefix, os.nice(0)

    environment = replica_runtime_env(spec(engine), CLUSTER, 1)
    found = ray.get(ray.remote(ask).options(num_cpus=0, runtime_env=environment).remote(), timeout=60)
    assert found == ("of its own", str(other_python.parents[1]), os.nice(0))


@pytest.mark.usefixtures("commands_share_ray")
def test_an_engine_whose_python_is_not_there_fails_alone(
    other_python: Path, command: Callable[..., Called], tmp_path: Path
) -> None:
    options = tmp_path / "conf" / "model"
    options.mkdir(parents=True)
    for name, python in {"other": other_python, "gone": tmp_path / "bin" / "python"}.items():
        option = {
            "defaults": ["echo", "_self_"],
            "name": name,
            "engine": {"runtime_env": {"py_executable": str(python)}},
        }
        (options / f"{name}.yaml").write_text(json.dumps(option))
    arguments = "-m model=echo,other,gone setting=user_question judge=echo dataset=demo dataset.limit=4 tracking=none"
    done = command("run", "--json", "--config-dir", tmp_path / "conf", *arguments.split())
    assert done.code == 1, done.err
    rows = done.json["rows"]
    assert {row["model"]: row["scored"] for row in rows} == {"echo": 4, "other": 4, "gone": 0}
    assert "there is no such file" in " ".join(done.err.split())

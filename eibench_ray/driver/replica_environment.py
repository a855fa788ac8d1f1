"""The environment of a replica's process: its variables, and a Python of its own where its engine has one."""

from __future__ import annotations

import re
import shlex
from typing import Any

import ray
from ray.exceptions import RuntimeEnvSetupError

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.driver.cluster_nodes import ask_node
from eibench_ray.engines.python_environment import examine_python
from eibench_ray.engines.registry import kind_of, section_of
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import PythonEnvironment
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.weights.node_weights import CACHE_VARIABLE

_VARIABLES = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def replica_runtime_env(spec: EngineSpec, config: ClusterConfig, replica_id: int) -> dict[str, Any]:
    """Ray's runtime_env of a replica."""
    return {"env_vars": _variables(spec, config, replica_id)} | _own_python(spec.traits.environment, config)


async def check_python(spec: EngineSpec, nodes: tuple[str, ...]) -> None:
    """Returns where a replica's own Python can be used on the nodes where it is placed (none: here), if they answer.

    Where it cannot, Ray starts the process again and again and says nothing.

    Raises:
        EngineError: it is not there, or has another Ray or eibench-ray.
    """
    environment = spec.traits.environment
    if environment is None or environment.py_executable is None:
        return
    for node in dict.fromkeys(nodes or (ray.get_runtime_context().get_node_id(),)):
        if reason := await ask_node(node, examine_python, environment.py_executable):
            raise EngineError(
                f"replicas cannot run in model.engine.runtime_env.py_executable={environment.py_executable}: {reason}; "
                f"make that environment on every node, or let Ray make one with runtime_env.uv"
            )


def setup_failure(error: RuntimeEnvSetupError) -> EngineError:
    """Ray's failure to make an engine's own environment, in one paragraph: what the installer says, and what to do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    start = next((number for number, line in enumerate(lines) if line.lower().startswith("error:")), len(lines) - 1)
    reason = re.sub(r"^error:\s*", "", " ".join(lines[start:]), flags=re.IGNORECASE)[:600] or "Ray gives no reason"
    if "install virtualenv" in reason or "No module named" in reason:
        remedy = "install eibench-ray[environments] (for runtime_env.pip also pip) beside Ray on every node"
    elif "timeout" in reason:
        remedy = "raise cluster.start_timeout_s"
    else:
        remedy = "correct model.engine.runtime_env, or the index that uv and pip are told of where Ray is started"
    return EngineError(f"its own environment cannot be made: {reason.rstrip('.')}; {remedy}")


def _own_python(environment: PythonEnvironment | None, config: ClusterConfig) -> dict[str, Any]:
    """Runtime environment with another Python; installing may take as long as the engine may to start."""
    if environment is None:
        return {}
    if environment.py_executable is not None:
        return {"py_executable": shlex.quote(environment.py_executable)}
    timeout = {"config": {"setup_timeout_seconds": max(1, int(config.start_timeout_s))}}
    # Without options Ray would add --no-cache, and every session would download anew.
    if environment.uv:
        return {"uv": {"packages": [*environment.uv], "uv_pip_install_options": [*environment.options]}} | timeout
    options = ["--disable-pip-version-check", *environment.options]
    return {"pip": {"packages": [*environment.pip], "pip_install_options": options}} | timeout


def _variables(spec: EngineSpec, config: ClusterConfig, replica_id: int) -> dict[str, str]:
    variables = dict(_VARIABLES)
    if spec.device == "cpu":
        variables["OMP_NUM_THREADS"] = str(config.cpus_per_replica)
    variables |= kind_of(spec).variables(section_of(spec), spec.device, replica_id)
    variables |= spec.traits.env
    if config.weights_cache is not None:
        variables[CACHE_VARIABLE] = config.weights_cache
    return variables

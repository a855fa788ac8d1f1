"""The environment of a replica's process: its variables, and a Python of its own where its engine has one."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RuntimeEnvSetupError

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.engines import LoadedSection, VllmSection
from eibench_ray.driver.cluster_nodes import ask_node
from eibench_ray.engines.engine_kind import section_of
from eibench_ray.engines.python_environment import examine_python
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import PythonEnvironment
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.rows.digests import digest
from eibench_ray.weights.node_weights import CACHE_VARIABLE

_VARIABLES = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # A row whose logits are no numbers is an error, and not an answer of "!!!!".
    "VLLM_COMPUTE_NANS_IN_LOGITS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


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
    """What makes Ray start the process in another Python; installing may take as long as the engine may to start."""
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
        # One process less per engine: it starts in 15-22 s instead of 23-28 (docs/measurements.md).
        variables["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        variables["OMP_NUM_THREADS"] = str(config.cpus_per_replica)
    section = section_of(spec)
    if isinstance(section, VllmSection):
        variables |= _kept_apart(section, replica_id)
    if isinstance(section, LoadedSection):
        variables |= section.env
    if config.weights_cache is not None:
        variables[CACHE_VARIABLE] = config.weights_cache
    return variables


def _kept_apart(engine: VllmSection, replica_id: int) -> dict[str, str]:
    """What keeps several vLLM on one node out of each other's way: a folder of its own for what one writes in place.

    Compiled graphs are (vllm/compilation/backends.py), so two copies that compile the same model must not share them.
    What vLLM has learned of its own model classes is one file per class, which two versions would overwrite for each
    other at every start. What is not compiled by the sweep's own vLLM is shared.

    Ports need no setting. vLLM 0.32 takes none where an engine lies on one node (a rendezvous by file, sockets named by
    uuid), and one that the kernel chooses where it spans several; older versions ask the kernel for a free one. With
    VLLM_PORT all would look upwards from a given one, and find the same until somebody binds it.
    """
    parts = []
    if engine.runtime_env is not None:
        parts.append(f"environment-{digest(engine.runtime_env.model_dump(), size=4)}")
    if not engine.enforce_eager:
        parts.append(f"replica-{replica_id}")
    if not parts:
        return {}
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vllm"
    root = Path(os.environ.get("VLLM_CACHE_ROOT") or default)
    return {"VLLM_CACHE_ROOT": str(root.joinpath("eibench_ray", *parts))}

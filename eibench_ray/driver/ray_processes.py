"""Ray's own processes on this machine."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

# Ray's processes that its others do not outlive.
SERVICES = frozenset({"gcs_server", "raylet"})
# Pictures and answers travel through the file system, hardly anything through Ray's object store.
OBJECT_STORE_BYTES = 128 << 20
# Variables with which a Ray that is started here is started, and joined, where they are not set to anything else.
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    # It would start a Python for each core of the machine (0.5 CPU s each), for tasks of which a run has few.
    "RAY_prestart_worker_first_driver": "0",
    # Replicas are as nice as the command. With Ray's 15 they get the cores that nobody else wants: beside one busy
    # process per core, two loads of vLLM took 366 s, and take 56.
    "RAY_worker_niceness": "0",
    # On a busy machine it takes longer than Ray's 30 s; then nothing could be started at all.
    "RAY_raylet_start_wait_time_s": "120",
    # When its control service has been gone for so long, Ray ends the program, with a line of its own; the watch over
    # the nodes ends the run before, in order.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
}

# What Ray's agent is made of; Ray imports all of it only to see whether it is there (0.4 CPU s).
_AGENT_NEEDS = ("aiohttp", "aiohttp_cors", "grpc", "opencensus", "opentelemetry", "prometheus_client")
# It sets the variables of each process without importing Ray: 0.3 CPU s of 0.7 of an actor's start.
_WORKER_SETUP = Path(__file__).with_name("worker_setup.py")
_IDLE_AGENT = Path(__file__).with_name("idle_agent.py")
_VARIABLES_AGENT = Path(__file__).with_name("variables_agent.py")
_MESSAGES = {
    "GetOrCreateRuntimeEnvRequest": {"serialized_runtime_env": 1},
    "GetOrCreateRuntimeEnvReply": {"status": 1, "serialized_runtime_env_context": 3},
    "DeleteRuntimeEnvIfPossibleRequest": {"serialized_runtime_env": 1},
    "DeleteRuntimeEnvIfPossibleReply": {"status": 1},
}
_AGENT_PORTS = ("METRICS_AGENT_PORT_NAME", "METRICS_EXPORT_PORT_NAME", "DASHBOARD_AGENT_LISTEN_PORT_NAME")


def set_ray_environment() -> None:
    """Sets `RAY_ENVIRONMENT` in this process, for what is started from here on; what is set already stays."""
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def lean_node(*, has_dashboard: bool) -> Iterator[None]:
    """Has Ray start none of the processes that a run does without, for which it has no options: most of its start.

    The log monitor prints what replicas write, which is switched off; the autoscaler scales nothing here, and shows its
    figures to all users of the machine (a port). Without a dashboard, its server reports usage statistics alone, which
    are switched off, too, and its agent serves nobody (1.2 CPU s, 130 MB). The agent that makes environments is started
    when a replica has one of its own (0.45 CPU s, before the first replica can start).
    """
    import ray._private.node as node
    import ray._private.parameter as parameter
    from ray._private import utils

    lean = functools.partial(
        parameter.RayParams, include_log_monitor=False, no_monitor=True, setup_worker_path=str(_WORKER_SETUP)
    )
    with contextlib.ExitStack() as patches:
        patches.enter_context(patch.object(parameter, "RayParams", lean))
        if all(map(find_spec, _AGENT_NEEDS)):
            patches.enter_context(patch.object(utils, "get_dashboard_dependency_error", lambda: None))
        if not has_dashboard:
            patches.enter_context(patch.object(node.Node, "start_api_server", lambda *_, **__: None))
        patches.enter_context(_small_agents(has_dashboard=has_dashboard))
        yield


@contextlib.contextmanager
def _small_agents(*, has_dashboard: bool) -> Iterator[None]:
    """Has Ray's node start small processes in the places of its agents, as it starts none without them.

    The node waits until the agent that serves a dashboard has said on which ports it listens: -1 is what it says that
    listens on none.
    """
    from ray._private import ray_constants, services

    raylet: Any = import_module("ray._raylet")
    knows_ports = all(hasattr(raylet, name) for name in (*_AGENT_PORTS, "persist_port"))
    is_idle = knows_ports and not has_dashboard
    repeats = _has_known_messages()
    start, command_of = services.start_raylet, services._build_python_executable_command_memory_profileable

    def start_raylet(*arguments: Any, **options: Any) -> Any:
        given = inspect.signature(start).bind(*arguments, **options).arguments
        for name in _AGENT_PORTS if is_idle else ():
            raylet.persist_port(given["session_dir"], given["node_id"], getattr(raylet, name), -1)
        return start(*arguments, **options)

    def build_command(component: str, *arguments: Any, **options: Any) -> list[str]:
        command = list(command_of(component, *arguments, **options))
        if is_idle and component == ray_constants.PROCESS_TYPE_DASHBOARD_AGENT:
            return [sys.executable, "-I", "-S", str(_IDLE_AGENT)]
        if repeats and component == ray_constants.PROCESS_TYPE_RUNTIME_ENV_AGENT:
            return [sys.executable, "-I", "-S", str(_VARIABLES_AGENT), *command]  # what follows is Ray's
        return command

    with (
        patch.object(services, "start_raylet", start_raylet),
        patch.object(services, "_build_python_executable_command_memory_profileable", build_command),
    ):
        yield


def _has_known_messages() -> bool:
    """Whether Ray's node asks its runtime_env agent as the small one understands it."""
    messages = import_module("ray.core.generated.runtime_env_agent_pb2").DESCRIPTOR.message_types_by_name
    return all(
        name in messages and {field.name: field.number for field in messages[name].fields}.items() >= fields.items()
        for name, fields in _MESSAGES.items()
    )

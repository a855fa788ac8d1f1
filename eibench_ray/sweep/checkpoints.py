"""Builds the small checkpoints that a sweep's engines name, before the cluster starts."""

from __future__ import annotations

from rich.console import Console

from eibench_ray.checkpoints.build import build_checkpoint
from eibench_ray.checkpoints.recipes import is_built
from eibench_ray.checkpoints.source import PREFIX
from eibench_ray.config.schema import VllmEngine
from eibench_ray.sweep.planning import PlannedSweep


def build_checkpoints(sweep: PlannedSweep, console: Console) -> None:
    """Builds what is not there yet; a checkpoint that is there costs nothing."""
    engines = [sweep.plan.engines[key].config for key in sweep.engines_to_load()]
    names = {
        engine.source.removeprefix(PREFIX)
        for engine in engines
        if isinstance(engine, VllmEngine) and engine.source.startswith(PREFIX)
    }
    for name in sorted(names):
        if not is_built(name):
            console.print(f"Building the checkpoint {name} (once; half a minute at most)")
            build_checkpoint(name)

"""Builds the small checkpoints that engines name, before the cluster starts."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from eibench_ray.checkpoints.build import build_checkpoint
from eibench_ray.checkpoints.recipes import is_built
from eibench_ray.checkpoints.source import PREFIX
from eibench_ray.config.embedding import EmbeddingEngine
from eibench_ray.config.engines import LoadedEngine
from eibench_ray.engines.engine_kind import section_of
from eibench_ray.journal import phase
from eibench_ray.plan.graph import EngineSpec


def build_checkpoints(engines: Iterable[EngineSpec], console: Console) -> None:
    """Builds what is not there yet; a checkpoint that is there costs nothing."""
    names = {
        engine.source.removeprefix(PREFIX)
        for engine in map(section_of, engines)
        if isinstance(engine, LoadedEngine | EmbeddingEngine) and engine.source.startswith(PREFIX)
    }
    for name in sorted(names):
        if not is_built(name):
            with phase(f"building the checkpoint {name} (once; half a minute at most)", console):
                build_checkpoint(name)

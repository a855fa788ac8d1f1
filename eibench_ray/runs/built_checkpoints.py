"""Builds the small checkpoints that engines name, before the cluster starts."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from eibench_ray.config.embedding import EmbeddingSection
from eibench_ray.config.engines import LoadedSection
from eibench_ray.engines.engine_kind import section_of
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.terminal.run_log import phase
from eibench_ray.weights.build import build_checkpoint
from eibench_ray.weights.recipes import is_built
from eibench_ray.weights.weights_source import PREFIX


def build_checkpoints(engines: Iterable[EngineSpec], console: Console) -> None:
    """Builds what is not there yet; a checkpoint that is there costs nothing."""
    names = {
        engine.source.removeprefix(PREFIX)
        for engine in map(section_of, engines)
        if isinstance(engine, LoadedSection | EmbeddingSection) and engine.source.startswith(PREFIX)
    }
    for name in sorted(names):
        if not is_built(name):
            with phase(f"building the checkpoint {name} (once; half a minute at most)", console):
                build_checkpoint(name)

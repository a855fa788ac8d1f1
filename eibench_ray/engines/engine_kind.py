"""From the section of an engine to the plan's values, and back."""

from __future__ import annotations

from typing import Literal

from pydantic import TypeAdapter

from eibench_ray.config.embedding import EmbeddingSection
from eibench_ray.config.endpoints import OpenaiSection
from eibench_ray.config.engines import (
    EchoSection,
    EngineConfig,
    EnvironmentSection,
    LoadedSection,
    ReplaySection,
    VllmSection,
    is_pinned,
)
from eibench_ray.plan.engine_traits import Availability, EngineTraits, Expectation, PythonEnvironment, RateLimits
from eibench_ray.plan.graph import EngineSpec, MemoryFit

EngineSection = EngineConfig | EmbeddingSection
_SECTIONS: TypeAdapter[EngineSection] = TypeAdapter(EngineSection)


def engine_spec(
    key: str,
    name: str,
    section: EngineSection,
    device: Literal["cpu", "cuda"],
    recording: str | None,
    num_gpus: int,
    expect: Expectation,
    memory: MemoryFit | None = None,
    availability: Availability | None = None,
) -> EngineSpec:
    """The plan's entry of an engine, from its section."""
    settings, traits = section.model_dump(), traits_of(section)
    return EngineSpec(
        key, name, section.kind, settings, device, recording, num_gpus, expect, traits, memory, availability
    )


def section_of(spec: EngineSpec) -> EngineSection:
    """The section of a planned engine, with what the plan chose for it."""
    return _SECTIONS.validate_python({**spec.settings, **spec.chosen})


def traits_of(section: EngineSection) -> EngineTraits:
    """How the engine of a section behaves."""
    if isinstance(section, OpenaiSection):
        is_batch, limits, said = section.mode == "batch", section.limits, section.args.get(section.max_tokens_key)
        return EngineTraits(
            section.max_num_seqs,
            is_endpoint=True,
            is_batch=is_batch,
            price=section.price.to_price() if section.price else None,
            # The provider keeps the limits of batches itself.
            limits=None if is_batch else RateLimits(section.pool, limits.requests_per_min, limits.tokens_per_min),
            picture_tokens=section.picture_tokens,
            thinking_tokens=section.reasoning_tokens,
            reply_tokens=said if isinstance(said, int) else None,
        )
    if isinstance(section, EchoSection):
        environment = _plain(section.runtime_env)
        return EngineTraits(
            section.max_num_seqs,
            is_rehearsal=True,
            price=section.price.to_price() if section.price else None,
            environment=environment,
        )
    if isinstance(section, ReplaySection):
        return EngineTraits(section.max_num_seqs, is_recorded=True)
    is_model = isinstance(section, LoadedSection)
    return EngineTraits(
        section.max_num_seqs,
        is_loaded=True,
        is_pinned=is_pinned(section.source, section.revision),
        is_language_model=is_model,
        stages=section.pipeline_parallel if isinstance(section, VllmSection) else 1,
        environment=_plain(section.runtime_env) if isinstance(section, LoadedSection) else None,
    )


def _plain(environment: EnvironmentSection | None) -> PythonEnvironment | None:
    if environment is None:
        return None
    uv, pip = tuple(environment.uv or ()), tuple(environment.pip or ())
    return PythonEnvironment(uv, pip, tuple(environment.options), environment.py_executable)

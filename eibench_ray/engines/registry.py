"""The engine kinds by name, and what goes by the kind of a planned engine."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from eibench_ray.config.engine_section import ENGINE_KINDS, EngineSection
from eibench_ray.engines.engine import Engine
from eibench_ray.engines.engine_kind import Device, EngineKind, EngineSetup
from eibench_ray.plan.engine_traits import Availability, Expectation
from eibench_ray.plan.graph import EngineSpec, MemoryFit

if TYPE_CHECKING:
    from eibench_ray.ratelimit.rate_limiter import RateLimiter
    from eibench_ray.storage.interface import Storage
    from eibench_ray.weights.adapter_weights import LoadedAdapter
    from eibench_ray.weights.node_weights import Weights


def kind_of(what: EngineSection | EngineSpec) -> EngineKind[Any]:
    """The kind of an engine.

    Raises:
        ConfigError: there is none of that name, or it cannot be imported.
    """
    return ENGINE_KINDS.find(what.kind, EngineKind)  # type: ignore[type-abstract]


def engine_spec(
    key: str,
    name: str,
    section: EngineSection,
    device: Device,
    recording: str | None,
    num_gpus: int,
    expect: Expectation,
    memory: MemoryFit | None = None,
    availability: Availability | None = None,
) -> EngineSpec:
    """The plan's entry of an engine, from its section."""
    settings, traits = section.model_dump(), kind_of(section).traits(section)
    return EngineSpec(
        key, name, section.kind, settings, device, recording, num_gpus, expect, traits, memory, availability
    )


def section_of(spec: EngineSpec) -> Any:
    """The section of a planned engine, of its kind's own class, with what the plan chose."""
    return kind_of(spec).section.model_validate({**spec.settings, **spec.chosen})


def check_installed(spec: EngineSpec) -> None:
    """Returns if this machine, whose packages are those of every node, has what an optional engine imports.

    Raises:
        ConfigError: a package is missing, with what to install.
    """
    kind_of(spec).check_installed(section_of(spec))


def weights_of(spec: EngineSpec) -> Weights | None:
    """The weights that an engine loads; None: it loads none."""
    from eibench_ray.weights.node_weights import Weights

    request = kind_of(spec).weights(section_of(spec))
    return None if request is None else Weights(request)


def adapters_of(spec: EngineSpec) -> tuple[LoadedAdapter, ...]:
    """The adapters that requests to an engine name."""
    from eibench_ray.weights.adapter_weights import LoadedAdapter

    return tuple(LoadedAdapter(adapter, kind_of(spec).adapter_weights(adapter)) for adapter in spec.adapters)


def create_engine(
    spec: EngineSpec,
    limiter: RateLimiter,
    batches: PurePath,
    storage: Storage,
    weights: Weights | None = None,
    adapters: tuple[LoadedAdapter, ...] = (),
) -> Engine:
    """An engine that has not started yet; what it stands on is imported here.

    Args:
        spec: which one.
        limiter: lets its requests through, where it is an endpoint.
        batches: the folder of what it has sent to a batch endpoint.
        storage: where that folder lies.
        weights: what it loads, where it loads any; None: as configured.
        adapters: that its requests name.
    """
    setup = EngineSetup(
        spec.device, spec.num_gpus, spec.recording, limiter, weights, batches, storage, spec.most_images, adapters
    )
    return kind_of(spec).create(section_of(spec), setup)

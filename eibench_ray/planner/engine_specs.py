"""The engines of a plan: each is one, whoever uses it, with its GPUs and how it fits into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.schema import ModelConfig, RunConfig
from eibench_ray.engines.engine_kind import Site
from eibench_ray.engines.engine_memory import GpuNodes
from eibench_ray.engines.registry import engine_spec, kind_of, section_of
from eibench_ray.errors import PlanError
from eibench_ray.plan.engine_traits import Adapter, EngineTraits
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.rows.digests import digest
from eibench_ray.weights.memory_estimate import MemoryEstimate

ModelKey = Literal["model", "captioner", "asker", "judge.model", "judge.baseline"]

# Keys of which two values may mean the same; what they stand for is part of the engine's identity.
_ALIASES = frozenset({"source", "revision", "chat_template"})


@dataclass(frozen=True, slots=True)
class EngineUse:
    """Role in which a cell names an engine."""

    model: ModelConfig
    key: ModelKey  # where the model stands in the cell's configuration
    config: RunConfig  # the cell's

    @property
    def cell(self) -> str:
        """The cell in words."""
        config = self.config
        return f"{config.model.name}/{config.setting.name}/{config.dataset.name}/{config.judge.cell_name}"

    @property
    def recording(self) -> str | None:
        """The file of recorded replies that the engine reads, in whose name a `/` is `%2F`; None: it reads none."""
        parts = [self.config.dataset.name, self.config.setting.name]
        if self.key == "judge.model":
            parts.append(self.config.judge.name)
        engine, name = self.model.engine, ".".join(parts).replace("/", "%2F")
        return kind_of(engine).recording(engine, name)


@dataclass(frozen=True, slots=True)
class AskedEngine:
    """The engine that a step asks, and the adapter that its requests name."""

    spec: EngineSpec  # without its GPUs
    adapter: Adapter | None


class Engines:
    """Collects engines; one that is met again must be configured as it was before."""

    def __init__(self, device: Literal["cpu", "cuda"], cluster: ClusterConfig, known: GpuNodes | None) -> None:
        self._specs: dict[str, EngineSpec] = {}  # what was collected, by key, without GPUs
        self._adapters: dict[str, dict[str, Adapter]] = {}  # by the engine's key and their own
        self._first_uses: dict[str, EngineUse] = {}
        self._device = device
        self._cluster = cluster
        self._known = known

    def add(self, use: EngineUse) -> AskedEngine:
        """The engine that a cell names.

        Raises:
            PlanError: it was configured otherwise before, or its adapter does not belong to it.
        """
        kind, section, recording = kind_of(use.model.engine), use.model.engine, use.recording
        use = replace(use, model=use.model.model_copy(update={"engine": kind.base(section)}))
        key = digest(engine_identity(use.model, recording), size=10)
        adapters = self._adapters.setdefault(key, {})
        if key in self._specs:
            _check_equal(self._first_uses[key], use, self._specs[key].traits)
        else:
            self._first_uses[key] = use
            self._specs[key] = plan_engine(key, use.model, self._device, recording)
        adapter: Adapter | None = kind.adapter(section)
        if adapter is None and self._specs[key].name in {one.name for one in adapters.values()}:
            # The model that is asked as it is loaded gives the engine its name.
            self._specs[key] = replace(self._specs[key], name=use.model.name)
        elif adapter is not None:
            known = adapters.setdefault(adapter.key, replace(adapter, name=use.model.name))
            adapters[adapter.key] = replace(known, rank=max(known.rank, adapter.rank))
        return AskedEngine(self._specs[key], adapter)

    def plan(self, most_images: Mapping[str, int]) -> dict[str, EngineSpec]:
        """All that were collected, by key, with their GPUs.

        Args:
            most_images: pictures of one request at most, by the engine's key.

        Raises:
            PlanError: no node has enough memory for one of them.
        """
        planned = {}
        for key, spec in self._specs.items():
            whole = replace(spec, most_images=most_images[key], adapters=tuple(self._adapters[key].values()))
            model = self._first_uses[key].model
            planned[key] = with_gpus(whole, model, self._cluster, self._known)
        return planned


def plan_engine(key: str, model: ModelConfig, device: Literal["cpu", "cuda"], recording: str | None) -> EngineSpec:
    """A model's spec, without its GPUs."""
    return engine_spec(
        key, model.name, model.engine, device, recording, 0, model.expect, availability=model.availability
    )


def engine_identity(model: ModelConfig, recording: str | None) -> Mapping[str, Any]:
    """Identity of an engine: everything that an answer can depend on.

    Args:
        model: whose engine it is.
        recording: the file of recorded replies that it reads; None: none.

    Raises:
        PlanError: a file that the engine names is not there.
    """
    return kind_of(model.engine).identity(model.engine, recording)


def engine_memory(model: ModelConfig) -> MemoryEstimate | None:
    """GPU memory of an engine: by its weights' metadata, else the prior; None: not known."""
    kind = kind_of(model.engine)
    known: MemoryEstimate | None = kind.memory(model.engine)
    if known is None and model.expect.memory_gb is not None and kind.traits(model.engine).is_loaded:
        return MemoryEstimate(model.expect.memory_gb, "expect")
    return known


def with_gpus(
    spec: EngineSpec, model: ModelConfig, cluster: ClusterConfig, known: GpuNodes | None = None
) -> EngineSpec:
    """A model's spec with its GPUs, what is chosen by them, and how it fits; without any, with its RAM.

    Args:
        spec: the engine's.
        model: as configured.
        cluster: the configuration.
        known: the run's nodes with GPUs; None: as the configuration expects them.

    Raises:
        PlanError: no node has enough memory for it.
    """
    site = Site(spec.name, spec.device, cluster, nodes=known, adapters=spec.adapters, most_images=spec.most_images)
    if site.has_gpus:
        site = replace(site, memory=engine_memory(model))
    kind = kind_of(spec)
    needs = kind.needs(model.engine, site)
    planned = replace(spec, num_gpus=needs.num_gpus, memory=needs.memory, chosen=needs.chosen)
    if not site.has_gpus and (memory := engine_memory(model)) is not None:
        planned = replace(planned, ram_gb=kind.ram_gb(model.engine, memory))
    return replace(planned, traits=kind.traits(section_of(planned)))  # which may follow what was chosen


def _check_equal(first: EngineUse, again: EngineUse, traits: EngineTraits) -> None:
    """Refuses two configurations of one engine that is loaded, or asked, in one way; others cost nothing."""
    if not (traits.is_loaded or traits.is_endpoint) or first.model == again.model:
        return
    once = "asked in one way" if traits.is_endpoint else "loaded once"
    before, now = dict(_running(first.model)), dict(_running(again.model))
    for key, value in before.items():
        if now[key] != value:
            raise PlanError(
                f"model {first.model.name!r} is {once} for all cells, but {first.key}.{key} is {value!r} in cell "
                f"{first.cell} and {again.key}.{key} is {now[key]!r} in cell {again.cell}: give both the same value"
            )


def _running(model: ModelConfig) -> Iterator[tuple[str, Any]]:
    """Settings of how an engine runs, beside what it is: dotted keys and values."""
    engine = model.engine.model_dump()
    yield from ((f"engine.{name}", value) for name, value in engine.items() if name not in _ALIASES)
    yield from ((f"expect.{name}", value) for name, value in asdict(model.expect).items())

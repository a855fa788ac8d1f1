"""Assets of a plan's engines beside data: weights, tokenizers, pipelines, environments. Pure but for paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from eibench_ray.engines.registry import kind_of, section_of
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.weights.hub_cache import HubModel
from eibench_ray.weights.weights_request import WeightsRequest
from eibench_ray.weights.weights_source import PREFIX, local_folder

AssetKind = Literal["hub", "checkpoint", "folder", "own cache", "environment", "packages"]


@dataclass(frozen=True, slots=True)
class Asset:
    """One thing that engines need.

    Attributes:
        kind: `hub`: files of a repository; `checkpoint`: one that is built here; `folder`: weights of the user's own;
            `own cache`: what an engine keeps elsewhere itself; `environment`: a Python of an engine's own; `packages`:
            what must be installed beside this package.
    """

    kind: AssetKind
    name: str  # the repository, the checkpoint, the folder, or the packages
    users: tuple[str, ...]  # names of the models that need it
    model: HubModel | None = None  # of the hub, what of it
    is_gated: bool = False  # whether its option says that a licence is to be accepted
    spec: EngineSpec | None = field(default=None, compare=False)  # of packages, the engine that imports them
    env: tuple[tuple[str, str], ...] = ()  # variables of the engine's own, which may name another cache


def collect_assets(engines: Iterable[EngineSpec]) -> list[Asset]:
    """Assets of some engines, each once, in the order in which they name it."""
    found: dict[Asset, Asset] = {}
    for spec in engines:
        for asset in _assets_of(spec):
            key = replace(asset, users=(), is_gated=False)
            known = found.get(key, asset)
            users = tuple(dict.fromkeys((*known.users, *asset.users)))
            found[key] = replace(known, users=users, is_gated=known.is_gated or asset.is_gated)
    return list(found.values())


def _assets_of(spec: EngineSpec) -> Iterator[Asset]:
    kind, section, users = kind_of(spec), section_of(spec), (spec.name,)
    if request := kind.weights(section):
        is_gated = spec.availability is not None and spec.availability.status == "gated"
        yield from _checkpoints_of(spec, spec.name, request, is_gated=is_gated)
    for adapter in spec.adapters:
        yield from _checkpoints_of(spec, adapter.name, kind.adapter_weights(adapter), is_gated=False)
    if packages := kind.packages(section):
        yield Asset("packages", packages, users, spec=spec)
    if environment := spec.traits.environment:
        packages = " ".join(environment.uv or environment.pip)
        yield Asset("environment", environment.py_executable or packages, users)


def _checkpoints_of(spec: EngineSpec, name: str, request: WeightsRequest, *, is_gated: bool) -> Iterator[Asset]:
    users, env = (name,), tuple(sorted(spec.traits.env.items()))
    if request.source.startswith(PREFIX):
        yield Asset("checkpoint", request.source.removeprefix(PREFIX), users)
    elif folder := local_folder(request.source):
        yield Asset("folder", str(folder), users)
    elif request.has_own_cache:
        yield Asset("own cache", request.source, users)
    elif model := request.hub_model:
        yield Asset("hub", model.hub_id, users, model, is_gated, env=env)
    for model in request.side_models:
        yield Asset("hub", model.hub_id, users, model, env=env)

"""What the engines of a plan need beside data: weights, tokenizers, pipelines, environments. Pure but for paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from eibench_ray.config.embedding import EmbeddingSection
from eibench_ray.config.engines import LoadedSection
from eibench_ray.engines.engine_kind import section_of
from eibench_ray.engines.loaded_weights import request_of
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.weights.hub_cache import HubModel
from eibench_ray.weights.weights_source import PREFIX, local_folder

AssetKind = Literal["hub", "checkpoint", "folder", "own cache", "environment", "splitter"]


@dataclass(frozen=True, slots=True)
class Asset:
    """One thing that engines need.

    Attributes:
        kind: `hub`: files of a repository; `checkpoint`: one that is built here; `folder`: weights of the user's own;
            `own cache`: what vLLM keeps in a `download_dir`; `environment`: a Python of an engine's own; `splitter`:
            what cuts answers into sentences, and the packages around it.
        name: the repository, the checkpoint, the folder, the packages, or the splitter.
        users: names of the models that need it.
        model: of the hub, what of it.
        is_gated: whether its option says that a licence is to be accepted.
        engine: of a splitter, its engine.
        env: variables of the engine's own, which may name another cache.
    """

    kind: AssetKind
    name: str
    users: tuple[str, ...]
    model: HubModel | None = None
    is_gated: bool = False
    engine: EmbeddingSection | None = None
    env: tuple[tuple[str, str], ...] = ()


def collect_assets(engines: Iterable[EngineSpec]) -> list[Asset]:
    """What some engines need, each thing once, in the order in which they name it."""
    found: dict[Asset, Asset] = {}
    for spec in engines:
        for asset in _assets_of(spec):
            key = replace(asset, users=(), is_gated=False, engine=None)
            known = found.get(key, asset)
            users = tuple(dict.fromkeys((*known.users, *asset.users)))
            found[key] = replace(known, users=users, is_gated=known.is_gated or asset.is_gated)
    return list(found.values())


def _assets_of(spec: EngineSpec) -> Iterator[Asset]:
    engine, users = section_of(spec), (spec.name,)
    if not isinstance(engine, LoadedSection | EmbeddingSection):
        return
    request = request_of(engine)
    env = tuple(sorted(engine.env.items())) if isinstance(engine, LoadedSection) else ()
    if engine.source.startswith(PREFIX):
        yield Asset("checkpoint", engine.source.removeprefix(PREFIX), users)
    elif folder := local_folder(engine.source):
        yield Asset("folder", str(folder), users)
    elif request.has_own_cache:
        yield Asset("own cache", engine.source, users)
    elif model := request.hub_model:
        is_gated = spec.availability is not None and spec.availability.status == "gated"
        yield Asset("hub", model.hub_id, users, model, is_gated, env=env)
    for model in request.side_models:
        yield Asset("hub", model.hub_id, users, model, env=env)
    if isinstance(engine, EmbeddingSection):
        yield Asset("splitter", engine.splitter, users, engine=engine)
    elif environment := engine.runtime_env:
        yield Asset("environment", environment.py_executable or " ".join(environment.packages), users)

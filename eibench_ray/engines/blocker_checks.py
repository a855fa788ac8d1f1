"""Checks for what blocks an engine here: recordings, keys, weights and templates that are missing, retired endpoints.

It is looked up where a run would look for it; nothing is tried, no endpoint is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from eibench_ray.engines.chat_templates import no_template
from eibench_ray.engines.engine_kind import Surroundings
from eibench_ray.engines.registry import kind_of, section_of
from eibench_ray.plan.engine_traits import Adapter
from eibench_ray.plan.graph import Blocker, EngineSpec
from eibench_ray.weights.hub_cache import find_snapshot, has_token, is_offline
from eibench_ray.weights.missing_imports import explain_missing, missing_packages
from eibench_ray.weights.weights_request import WeightsRequest
from eibench_ray.weights.weights_source import PREFIX, local_folder


def find_blocker(spec: EngineSpec, environ: Mapping[str, str], today: date, *, is_local: bool) -> Blocker | None:
    """The reason why an engine cannot run here; None where it can.

    Args:
        spec: the engine.
        environ: of this process.
        today: when it would run.
        is_local: whether it would run on this machine. What the nodes of a joined cluster have in their environments
            and caches is not known here: an engine that lacks it there fails there.
    """
    kind, section = kind_of(spec), section_of(spec)
    around = Surroundings({**environ, **spec.traits.env}, today, is_local)
    request: WeightsRequest | None = kind.weights(section)
    if found := kind.blocker(section, spec, around):
        return found
    if request is None:
        return None
    return (
        _lost_weights(spec.name, request, around, is_gated=_is_gated(spec))
        or find_lost_template(spec, environ, is_local=is_local)
        or _lost_package(spec, request, around)
    )


def find_adapter_blocker(
    spec: EngineSpec, adapter: Adapter, environ: Mapping[str, str], today: date, *, is_local: bool
) -> Blocker | None:
    """The reason why an adapter of an engine cannot be had here; None where it can."""
    around = Surroundings({**environ, **spec.traits.env}, today, is_local)
    return _lost_weights(adapter.name, kind_of(spec).adapter_weights(adapter), around, "adapter", "engine.lora.source")


def find_lost_template(spec: EngineSpec, environ: Mapping[str, str], *, is_local: bool) -> Blocker | None:
    """The blocker that an engine's checkpoint, where it is here, has no chat template; None where it may have one."""
    kind, section = kind_of(spec), section_of(spec)
    request: WeightsRequest | None = kind.weights(section)
    if request is None or request.source.startswith(PREFIX):
        return None
    folder = find_checkpoint_folder(request, {**environ, **spec.traits.env}, is_local=is_local)
    if folder is None or not kind.lacks_chat_template(section, folder):
        return None
    _, remedy = no_template(request.source).split(": ", 1)
    return Blocker(spec.name, "no chat template", request.source, remedy)


def find_checkpoint_folder(request: WeightsRequest, environ: Mapping[str, str], *, is_local: bool) -> Path | None:
    """Folder of a checkpoint's files on this machine, as far as they are here."""
    folder = local_folder(request.source)
    if folder is None and is_local and (model := request.hub_model):
        folder = find_snapshot(model, environ)
    return folder


def _lost_package(spec: EngineSpec, request: WeightsRequest, around: Surroundings) -> Blocker | None:
    """A package that the checkpoint imports and this Python lacks; an engine with its own Python is not looked into."""
    if not around.is_local or spec.traits.environment is not None or request.source.startswith(PREFIX):
        return None
    folder = find_checkpoint_folder(request, around.environ, is_local=True)
    if folder is None or not (packages := missing_packages(folder, request)):
        return None
    kind = "a package is missing" if len(packages) == 1 else "packages are missing"
    return Blocker(spec.name, kind, ", ".join(packages), explain_missing(packages))


def _is_gated(spec: EngineSpec) -> bool:
    return spec.availability is not None and spec.availability.status == "gated"


def _lost_weights(
    name: str,
    request: WeightsRequest,
    around: Surroundings,
    what: str = "weights",
    key: str = "engine.source",
    *,
    is_gated: bool = False,
) -> Blocker | None:
    source, environ = request.source, around.environ
    if source.startswith(PREFIX):  # built when it is needed
        return None
    if folder := local_folder(source):
        if folder.exists():
            return None
        thing = "checkpoint" if what == "weights" else what
        return Blocker(name, f"no {what}", str(folder), f"put the {thing} there, or correct its {key}")
    model = request.hub_model
    if not around.is_local or model is None or find_snapshot(model, environ):
        return None
    if is_offline(environ):
        remedy = "unset HF_HUB_OFFLINE, or fill the cache where there is a network (`eibench-ray prefetch`)"
        return Blocker(name, f"{what} not cached, and offline", str(model), remedy)
    if is_gated and "HF_ENDPOINT" not in environ and not has_token(environ):
        remedy = "accept their licence on the hub and export HF_TOKEN, or set its engine.source to a folder"
        return Blocker(name, "no access to gated weights", source, remedy)
    return None

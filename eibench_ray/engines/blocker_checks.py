"""What stands in an engine's way here: recordings, keys, weights and templates that are not there, retired endpoints.

It is looked up where a run would look for it; nothing is tried, no endpoint is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from eibench_ray.config.endpoints import OpenaiSection
from eibench_ray.config.engines import LoadedSection, ReplaySection
from eibench_ray.engines.chat_template_check import lacks_chat_template
from eibench_ray.engines.chat_templates import no_template
from eibench_ray.engines.engine_kind import section_of
from eibench_ray.engines.loaded_weights import request_of
from eibench_ray.plan.graph import Blocker, EngineSpec
from eibench_ray.weights.hub_cache import find_snapshot, has_token, is_offline
from eibench_ray.weights.missing_imports import explain_missing, missing_packages
from eibench_ray.weights.weights_source import PREFIX, local_folder


def find_obstacle(spec: EngineSpec, environ: Mapping[str, str], today: date, *, is_local: bool) -> Blocker | None:
    """Why an engine cannot run; None where nothing speaks against it.

    Args:
        spec: the engine.
        environ: of this process.
        today: when it would run.
        is_local: whether it would run on this machine. What the nodes of a joined cluster have in their environments
            and caches is not known here: an engine that lacks it there fails there.
    """
    match section_of(spec):
        case ReplaySection():
            return _lost_recording(spec)
        case OpenaiSection() as engine:
            return _retirement(spec, engine, today) or (_lost_key(spec, engine, environ) if is_local else None)
        case LoadedSection() as engine:
            known = {**environ, **engine.env}
            return (
                _lost_weights(spec, engine, known, is_local=is_local)
                or find_lost_template(spec, known, is_local=is_local)
                or _lost_package(spec, engine, known, is_local=is_local)
            )
        case _:
            return None


def find_lost_template(spec: EngineSpec, environ: Mapping[str, str], *, is_local: bool) -> Blocker | None:
    """The obstacle that an engine's checkpoint, where it is here, has no chat template; None where it may have one."""
    engine = section_of(spec)
    if not isinstance(engine, LoadedSection) or engine.source.startswith(PREFIX):
        return None
    folder = _find_folder(engine, {**environ, **engine.env}, is_local=is_local)
    if folder is None or not lacks_chat_template(folder, engine):
        return None
    _, remedy = no_template(engine.source).split(": ", 1)
    return Blocker(spec.name, "no chat template", engine.source, remedy)


def _find_folder(engine: LoadedSection, environ: Mapping[str, str], *, is_local: bool) -> Path | None:
    """Where the files of a checkpoint are on this machine, as far as they are here."""
    folder = local_folder(engine.source)
    if folder is None and is_local and (model := request_of(engine).hub_model):
        folder = find_snapshot(model, environ)
    return folder


def _lost_package(
    spec: EngineSpec, engine: LoadedSection, environ: Mapping[str, str], *, is_local: bool
) -> Blocker | None:
    """A package that the checkpoint imports and this Python lacks; an engine with its own Python is not looked into."""
    if not is_local or engine.runtime_env is not None or engine.source.startswith(PREFIX):
        return None
    folder = _find_folder(engine, environ, is_local=is_local)
    if folder is None or not (packages := missing_packages(folder, request_of(engine))):
        return None
    kind = "a package is missing" if len(packages) == 1 else "packages are missing"
    return Blocker(spec.name, kind, ", ".join(packages), explain_missing(packages))


def _lost_recording(spec: EngineSpec) -> Blocker | None:
    assert spec.recording is not None
    if Path(spec.recording).exists():
        return None
    remedy = "put EIBench's JSONL ({path: text} per line) there, or set its engine.predictions to another folder"
    return Blocker(spec.name, "no recorded predictions", spec.recording, remedy)


def _retirement(spec: EngineSpec, engine: OpenaiSection, today: date) -> Blocker | None:
    available = spec.availability
    if available is None:
        return None
    if available.status != "retired" and (available.ends is None or available.ends > today.isoformat()):
        return None
    since = f" since {available.ends}" if available.ends else ""
    remedy = (
        "replay its recorded answers (model=replay), or name another host of it in its engine.base_url and set its "
        "availability to null"
    )
    return Blocker(spec.name, "retired", f"{engine.endpoint} has no {engine.model}{since}", remedy)


def _lost_key(spec: EngineSpec, engine: OpenaiSection, environ: Mapping[str, str]) -> Blocker | None:
    if engine.api_key_env is None or environ.get(engine.api_key_env, "").strip():
        return None
    return Blocker(spec.name, "no key", engine.api_key_env, "export the key under that name")


def _lost_weights(
    spec: EngineSpec, engine: LoadedSection, environ: Mapping[str, str], *, is_local: bool
) -> Blocker | None:
    source = engine.source
    if source.startswith(PREFIX):  # built when it is needed
        return None
    if folder := local_folder(source):
        if folder.exists():
            return None
        return Blocker(spec.name, "no weights", str(folder), "put the checkpoint there, or correct its engine.source")
    model = request_of(engine).hub_model
    if not is_local or model is None or find_snapshot(model, environ):
        return None
    if is_offline(environ):
        remedy = "unset HF_HUB_OFFLINE, or fill the cache where there is a network (`eibench-ray prefetch`)"
        return Blocker(spec.name, "weights not cached, and offline", str(model), remedy)
    is_gated = spec.availability is not None and spec.availability.status == "gated"
    if is_gated and "HF_ENDPOINT" not in environ and not has_token(environ):
        remedy = "accept their licence on the hub and export HF_TOKEN, or set its engine.source to a folder"
        return Blocker(spec.name, "no access to gated weights", source, remedy)
    return None

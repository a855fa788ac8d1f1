"""What an engine wants of a checkpoint."""

from __future__ import annotations

from eibench_ray.checkpoints.files import Part
from eibench_ray.checkpoints.hub import HubModel
from eibench_ray.checkpoints.source import PREFIX, local_folder
from eibench_ray.config.embedding import EmbeddingEngine
from eibench_ray.config.engines import LoadedEngine, VllmEngine


def part_of(engine: LoadedEngine | EmbeddingEngine) -> Part:
    """What an engine loads of its checkpoint."""
    if isinstance(engine, VllmEngine):
        return Part("vllm", str(engine.args.get("load_format", "auto")))
    return Part("transformers")


def hub_model_of(engine: LoadedEngine | EmbeddingEngine) -> HubModel | None:
    """What an engine loads from the hub's cache; None where that is nothing, or where it keeps a cache of its own."""
    if engine.source.startswith(PREFIX) or local_folder(engine.source) or has_own_cache(engine):
        return None
    return HubModel(engine.source, engine.revision, part_of(engine))


def has_own_cache(engine: LoadedEngine | EmbeddingEngine) -> bool:
    """Whether vLLM is told to keep what it fetches elsewhere."""
    return isinstance(engine, VllmEngine) and "download_dir" in engine.args


def is_spread(engine: LoadedEngine | EmbeddingEngine) -> bool:
    """Whether its processes lie on several nodes: then vLLM starts them with Ray."""
    return isinstance(engine, VllmEngine) and engine.args.get("distributed_executor_backend") == "ray"


def side_models_of(engine: LoadedEngine | EmbeddingEngine) -> list[HubModel]:
    """What vLLM's further arguments name of the hub: a tokenizer, a configuration, a model that drafts."""
    if not isinstance(engine, VllmEngine):
        return []
    args = engine.args
    found = []
    if tokenizer := args.get("tokenizer"):
        found.append(HubModel(str(tokenizer), args.get("tokenizer_revision"), Part("tokenizer")))
    if other := args.get("hf_config_path"):
        found.append(HubModel(str(other), None, Part("tokenizer")))
    draft = args.get("speculative_config") or {}
    if isinstance(draft, dict) and draft.get("model"):
        found.append(HubModel(str(draft["model"]), draft.get("revision"), Part("vllm")))
    return [model for model in found if local_folder(model.hub_id) is None]

"""The weights that an engine loads, from its section."""

from __future__ import annotations

from collections.abc import Iterator

from eibench_ray.config.embedding import EmbeddingSection
from eibench_ray.config.engines import LoadedSection, VllmSection
from eibench_ray.weights.checkpoint_files import CheckpointPart
from eibench_ray.weights.hub_cache import HubModel
from eibench_ray.weights.node_weights import Weights
from eibench_ray.weights.weights_request import WeightsRequest
from eibench_ray.weights.weights_source import local_folder


def weights_of(engine: object) -> Weights | None:
    """What an engine loads; None for one that loads no weights."""
    return Weights(request_of(engine)) if isinstance(engine, LoadedSection | EmbeddingSection) else None


def request_of(engine: LoadedSection | EmbeddingSection) -> WeightsRequest:
    """What an engine loads of its checkpoint, and of others."""
    if not isinstance(engine, VllmSection):
        runs_code = isinstance(engine, LoadedSection) and engine.trust_remote_code
        return WeightsRequest(engine.source, engine.revision, runs_code=runs_code)
    args = engine.args
    return WeightsRequest(
        engine.source,
        engine.revision,
        CheckpointPart("vllm", str(args.get("load_format", "auto"))),
        runs_code=engine.trust_remote_code,
        has_own_cache="download_dir" in args,
        # Over several nodes vLLM starts its processes with Ray.
        is_spread=args.get("distributed_executor_backend") == "ray",
        side_models=tuple(model for model in _side_models(engine) if local_folder(model.hub_id) is None),
    )


def _side_models(engine: VllmSection) -> Iterator[HubModel]:
    """What vLLM's further arguments name: a tokenizer, a configuration, a model that drafts."""
    args = engine.args
    if tokenizer := args.get("tokenizer"):
        yield HubModel(str(tokenizer), args.get("tokenizer_revision"), CheckpointPart("tokenizer"))
    if other := args.get("hf_config_path"):
        yield HubModel(str(other), None, CheckpointPart("tokenizer"))
    draft = args.get("speculative_config") or {}
    if isinstance(draft, dict) and draft.get("model"):
        yield HubModel(str(draft["model"]), draft.get("revision"), CheckpointPart("vllm"))

"""Creates the engine behind a spec."""

from __future__ import annotations

from pathlib import PurePath

from eibench_ray.config.embedding import EmbeddingSection
from eibench_ray.config.endpoints import OpenaiSection
from eibench_ray.config.engines import EchoSection, ReplaySection, TransformersSection
from eibench_ray.engines.engine import Engine
from eibench_ray.engines.engine_kind import section_of
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.ratelimit.rate_limiter import RateLimiter
from eibench_ray.storage.interface import Storage
from eibench_ray.storage.local import LOCAL
from eibench_ray.weights.node_weights import Weights


def check_installed(spec: EngineSpec) -> None:
    """Returns if this machine, whose packages are those of every node, has what an optional engine imports.

    Raises:
        ConfigError: a package is missing, with what to install.
    """
    section = section_of(spec)
    if isinstance(section, EmbeddingSection):
        from eibench_ray.engines.embedding.sentences import check_packages

        check_packages(section)


def create_engine(
    spec: EngineSpec,
    turnstile: RateLimiter,
    batches: PurePath,
    storage: Storage = LOCAL,
    weights: Weights | None = None,
) -> Engine:
    """An engine that has not started yet; its module, and what it stands on, is imported here.

    Args:
        spec: which one.
        turnstile: lets its requests through, where it is an endpoint.
        batches: the folder of what it has sent to a batch endpoint.
        storage: where that folder lies.
        weights: what it loads, where it loads any; None: as configured.
    """
    section = section_of(spec)
    if isinstance(section, EchoSection):
        from eibench_ray.engines.echo import EchoEngine

        return EchoEngine(section, turnstile)
    if isinstance(section, ReplaySection):
        from eibench_ray.engines.replay import ReplayEngine

        assert spec.recording is not None
        return ReplayEngine(section, spec.recording)
    if isinstance(section, OpenaiSection) and section.mode == "batch":
        from eibench_ray.engines.openai.batch_engine import OpenaiBatchEngine

        return OpenaiBatchEngine(section, turnstile, batches, storage)
    if isinstance(section, OpenaiSection):
        from eibench_ray.engines.openai.openai_engine import OpenaiEngine

        return OpenaiEngine(section, turnstile)
    if isinstance(section, EmbeddingSection):
        from eibench_ray.engines.embedding.embedding_engine import EmbeddingEngine

        return EmbeddingEngine(section, "cuda" if spec.device == "cuda" and spec.num_gpus else "cpu", weights)
    if isinstance(section, TransformersSection):
        from eibench_ray.engines.transformers.transformers_engine import TransformersEngine

        return TransformersEngine(section, spec.device, weights)
    from eibench_ray.engines.vllm.vllm_engine import VllmEngine

    return VllmEngine(section, spec.device, weights)

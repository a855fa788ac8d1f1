"""Creates the engine behind a spec."""

from __future__ import annotations

from pathlib import PurePath

from eibench_ray.checkpoints.node import Weights
from eibench_ray.config.embedding import EmbeddingEngine
from eibench_ray.config.endpoints import OpenaiEngine
from eibench_ray.config.engines import EchoEngine, ReplayEngine, TransformersEngine
from eibench_ray.endpoints.turnstile import Turnstile
from eibench_ray.engines.base import Engine
from eibench_ray.engines.engine_kind import section_of
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.store.storage import LOCAL, Storage


def check_installed(spec: EngineSpec) -> None:
    """Returns if this machine, whose packages are those of every node, has what an optional engine imports.

    Raises:
        ConfigError: a package is missing, with what to install.
    """
    section = section_of(spec)
    if isinstance(section, EmbeddingEngine):
        from eibench_ray.engines.sentences import check_packages

        check_packages(section)


def create_engine(
    spec: EngineSpec,
    turnstile: Turnstile,
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
    if isinstance(section, EchoEngine):
        from eibench_ray.engines.echo import Echo

        return Echo(section, turnstile)
    if isinstance(section, ReplayEngine):
        from eibench_ray.engines.replay import Replay

        assert spec.recording is not None
        return Replay(section, spec.recording)
    if isinstance(section, OpenaiEngine) and section.mode == "batch":
        from eibench_ray.engines.openai.batch import OpenaiBatch

        return OpenaiBatch(section, turnstile, batches, storage)
    if isinstance(section, OpenaiEngine):
        from eibench_ray.engines.openai.engine import Openai

        return Openai(section, turnstile)
    if isinstance(section, EmbeddingEngine):
        from eibench_ray.engines.embedding import Embedding

        return Embedding(section, "cuda" if spec.device == "cuda" and spec.num_gpus else "cpu", weights)
    if isinstance(section, TransformersEngine):
        from eibench_ray.engines.transformers.engine import Transformers

        return Transformers(section, spec.device, weights)
    from eibench_ray.engines.vllm import Vllm

    return Vllm(section, spec.device, weights)

"""Creates the engine behind a spec."""

from __future__ import annotations

from pathlib import PurePath

from eibench_ray.checkpoints.node import Weights
from eibench_ray.config.embedding import EmbeddingEngine
from eibench_ray.config.endpoints import OpenaiEngine
from eibench_ray.config.engines import EchoEngine, ReplayEngine, TransformersEngine
from eibench_ray.endpoints.turnstile import Turnstile
from eibench_ray.engines.base import Engine
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.store.storage import LOCAL, Storage


def check_installed(spec: EngineSpec) -> None:
    """Returns if this machine, whose packages are those of every node, has what an optional engine imports.

    Raises:
        ConfigError: a package is missing, with what to install.
    """
    if isinstance(spec.config, EmbeddingEngine):
        from eibench_ray.engines.sentences import check_packages

        check_packages(spec.config)


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
    if isinstance(spec.config, EchoEngine):
        from eibench_ray.engines.echo import Echo

        return Echo(spec.config, turnstile)
    if isinstance(spec.config, ReplayEngine):
        from eibench_ray.engines.replay import Replay

        assert spec.recording is not None
        return Replay(spec.config, spec.recording)
    if isinstance(spec.config, OpenaiEngine) and spec.config.mode == "batch":
        from eibench_ray.engines.openai.batch import OpenaiBatch

        return OpenaiBatch(spec.config, turnstile, batches, storage)
    if isinstance(spec.config, OpenaiEngine):
        from eibench_ray.engines.openai.engine import Openai

        return Openai(spec.config, turnstile)
    if isinstance(spec.config, EmbeddingEngine):
        from eibench_ray.engines.embedding import Embedding

        return Embedding(spec.config, "cuda" if spec.device == "cuda" and spec.num_gpus else "cpu", weights)
    if isinstance(spec.config, TransformersEngine):
        from eibench_ray.engines.transformers.engine import Transformers

        return Transformers(spec.config, spec.device, weights)
    from eibench_ray.engines.vllm import Vllm

    return Vllm(spec.config, spec.device, weights)

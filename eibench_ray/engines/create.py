"""Creates the engine behind a spec."""

from __future__ import annotations

from pathlib import PurePath

from eibench_ray.config.endpoints import OpenaiEngine
from eibench_ray.config.engines import EchoEngine, ReplayEngine
from eibench_ray.endpoints.turnstile import Turnstile
from eibench_ray.engines.base import Engine
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.store.storage import LOCAL, Storage


def create_engine(spec: EngineSpec, turnstile: Turnstile, batches: PurePath, storage: Storage = LOCAL) -> Engine:
    """An engine that has not started yet; its module, and what it stands on, is imported here.

    Args:
        spec: which one.
        turnstile: lets its requests through, where it is an endpoint.
        batches: the folder of what it has sent to a batch endpoint.
        storage: where that folder lies.
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
    from eibench_ray.engines.vllm import Vllm

    return Vllm(spec.config, spec.device)

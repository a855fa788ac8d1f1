"""transformers as an engine: rows prepared beside what is generated, and answered in batches of those that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from eibench_ray.engines.decoding_slots import decode_in_thread
from eibench_ray.engines.engine import EngineFacts, no_numbers
from eibench_ray.engines.load_failure import load_reason
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.engines.python_environment import transformers_versions
from eibench_ray.engines.transformers.request_batches import RequestBatches
from eibench_ray.engines.transformers.transformers_kind import KIND
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.errors import EngineError
from eibench_ray.rows.request import Reply, Request
from eibench_ray.versions import extra_command, install_command
from eibench_ray.weights.node_weights import Weights

if TYPE_CHECKING:
    from eibench_ray.engines.transformers.transformers_model import Model, PreparedPrompt


class TransformersEngine:
    """A model in this process, on the CPU or on the GPUs that the process owns."""

    def __init__(
        self, config: TransformersSection, device: Literal["cpu", "cuda"], weights: Weights | None = None
    ) -> None:
        self._config = config
        self._weights = weights
        self._device = device
        self._model: Model | None = None
        self._batches: RequestBatches[PreparedPrompt] | None = None
        self._preparing = ThreadPoolExecutor(1, "prepare")

    async def start(self) -> EngineFacts:
        """Loads the weights; minutes for a large model.

        Raises:
            EngineError: the model does not load, with the reason.
        """
        config = self._config
        if find_spec("transformers") is None or find_spec("torch") is None:
            raise EngineError(
                f"transformers is not installed: {extra_command('gpu')} (on a machine without GPU, cpu in its place)"
            )
        try:
            self._model = await asyncio.to_thread(self._load)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"transformers cannot load {config.source}: {load_reason(error)}") from error
        self._batches = RequestBatches(self._model.answer, config.max_num_seqs)
        label = (self._weights or Weights(KIND.weights(config))).label
        version = f"transformers {transformers_versions()['transformers']}"
        fingerprint = f"{version} {self._device} {label} {config.dtype}"
        return EngineFacts(fingerprint, config.max_num_seqs, progress=partial(getattr, self._model, "num_steps"))

    def _load(self) -> Model:
        import torch

        from eibench_ray.engines.transformers.transformers_model import Model

        if self._device == "cuda" and not torch.cuda.is_available():
            raise EngineError("torch finds no GPU: repair the driver, or set cluster.device=cpu")
        if self._device == "cuda" and self._config.num_gpus > 1 and find_spec("accelerate") is None:
            raise EngineError(
                f"to spread a model over several GPUs, install accelerate: {install_command('accelerate')}"
            )
        return Model(self._config, self._device, self._weights)

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        """The reply to one request; many run at once.

        Raises:
            RowError: the picture or the prompt cannot be used, or the model failed on this request alone.
            EngineDeadError: the device failed.
        """
        assert self._batches is not None
        reply = await self._batches.ask(self._prepare(request, images))
        if reply.finish_reason == "error":
            raise no_numbers(self._config.dtype, reply.completion_tokens)
        return reply

    async def _prepare(self, request: Request, images: Sequence[bytes]) -> PreparedPrompt:
        assert self._model is not None
        pictures = [await decode_in_thread(decode_picture, image) for image in images]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._preparing, self._model.prepare, request, pictures)

    async def stop(self) -> None:
        """Gives up what is under way, which ends with its next token, and lets go of the weights."""
        if self._batches is not None:
            await self._batches.close()
        await asyncio.to_thread(self._preparing.shutdown)
        self._model = self._batches = None

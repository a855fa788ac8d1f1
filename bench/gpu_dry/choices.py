"""Settings that vLLM chooses for one model option on one kind of GPU."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.gpu_dry.stand_in import Gpu, pretend
from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.model_options import read_models
from eibench_ray.config.options_folder import config_folder
from eibench_ray.engines.engine_kind import Site
from eibench_ray.engines.registry import kind_of
from eibench_ray.engines.vllm.vllm_memory import kv_cache_tokens
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.weights.memory_estimate import GB, MemoryEstimate, attention_shape
from eibench_ray.weights.node_weights import Weights

if TYPE_CHECKING:
    from eibench_ray.config.schema import ModelConfig

SHAPES = Path(__file__).parent / "shapes.json"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A row of the table."""

    model: str
    gpu: str
    num_gpus: int  # of a replica
    step_tokens: int
    num_seqs: int
    kv_blocks: int | None  # by our estimate of what the weights and the rest take; None: not known
    block_tokens: int
    attention: str
    graphs: str  # CUDA graphs: how many, and of how many requests the largest is
    runner: str  # of models: vLLM's V1 or V2
    executor: str
    warnings: tuple[str, ...] = ()


def choose_for(gpu: Gpu) -> Iterator[Chosen]:
    """The settings of each option that has a shape."""
    pretend(gpu)
    shapes: Mapping[str, Any] = json.loads(SHAPES.read_text())
    with tempfile.TemporaryDirectory(prefix="gpu_dry_") as folder:
        for model in read_models(config_folder(), None):
            if model.name in shapes:
                yield choose(model, gpu, write_checkpoint(shapes[model.name], model, Path(folder) / model.name))


def write_checkpoint(shape: Mapping[str, Any], model: ModelConfig, folder: Path) -> Path:
    """A folder with the configuration of a checkpoint of a shape in the option's dtype, and a tokenizer."""
    import transformers

    from eibench_ray.weights.tiny_text import build_tokenizer

    config = getattr(transformers, shape["class"])(**shape["config"])
    config.architectures = [shape["architecture"]]
    config.dtype = _section(model).dtype
    config.save_pretrained(folder)
    # Without one vLLM takes a model with pictures for one of texts.
    build_tokenizer().save_pretrained(folder)
    return folder


def choose(model: ModelConfig, gpu: Gpu, folder: Path) -> Chosen:
    """The settings of one option on one kind of GPU."""
    from vllm.config import set_current_vllm_config
    from vllm.logger import _print_warning_once
    from vllm.v1.attention.selector import get_attn_backend
    from vllm.v1.executor.abstract import Executor

    from eibench_ray.engines.vllm.vllm_arguments import engine_arguments
    from eibench_ray.engines.vllm.vllm_kind import vllm_weights
    from eibench_ray.engines.vllm.vllm_versions import throughput_context, to_engine_args

    section, kind, images = _section(model), kind_of(model.engine), int(model.sees_image)
    cluster = ClusterConfig.model_validate({"name": "node", "gpu_memory_gb": gpu.memory_gb})
    site = Site(model.name, "cuda", cluster, estimate(model, folder), most_images=images)
    section = section.model_copy(update=dict(kind.needs(section, site).chosen))
    if section.num_gpus > 1:
        section = section.model_copy(update=dict(kind.spread(section, 1)))
    room = kv_cache_tokens(section, site)
    section = section.model_copy(update={"source": str(folder), "revision": None})
    os.environ |= kind.variables(section, "cuda", 0)
    said = Listener()
    logging.getLogger("vllm").addHandler(said)
    _print_warning_once.cache_clear()  # each option is the first
    try:
        arguments = engine_arguments(section, "cuda", Weights(vllm_weights(section)), images)
        config = to_engine_args(arguments).create_engine_config(throughput_context())
        known = config.model_config
        with set_current_vllm_config(config):
            backend = get_attn_backend(
                known.get_head_size(), known.dtype, config.cache_config.cache_dtype, use_mm_prefix=known.is_mm_prefix_lm
            )
    finally:
        logging.getLogger("vllm").removeHandler(said)
    _check_cache(site.memory, section, config)
    graphs, block_tokens = config.compilation_config, int(config.cache_config.block_size or 16)
    sizes = graphs.cudagraph_capture_sizes
    return Chosen(
        model=model.name,
        gpu=gpu.title,
        num_gpus=section.num_gpus,
        step_tokens=config.scheduler_config.max_num_batched_tokens,
        num_seqs=config.scheduler_config.max_num_seqs,
        kv_blocks=None if room is None else room // block_tokens,
        block_tokens=block_tokens,
        attention=backend.get_name(),
        graphs=f"{len(sizes)} to {graphs.max_cudagraph_capture_size}" if sizes else "none",
        runner="V2" if getattr(config, "use_v2_model_runner", False) else "V1",
        executor=Executor.get_class(config).__name__,
        warnings=tuple(dict.fromkeys(said.messages)),
    )


def _check_cache(memory: MemoryEstimate | None, section: VllmSection, config: Any) -> None:
    """Holds the planner's figure of a token's KV cache on one GPU against vLLM's.

    Raises:
        ValueError: they differ.
    """
    assert memory is not None
    assert memory.kv_gb_per_token is not None
    known, parallel = config.model_config, config.parallel_config
    values = 2 * known.get_num_layers(parallel) * known.get_num_kv_heads(parallel) * known.get_head_size()
    counted = memory.kv_gb_per_token / min(section.num_gpus, memory.num_kv_heads or 1) * GB
    if round(counted) != values * known.dtype.itemsize:
        raise ValueError(f"{known.model}: a token has {values * known.dtype.itemsize} bytes, and not {counted:.0f}")


def estimate(model: ModelConfig, folder: Path) -> MemoryEstimate:
    """The planner's estimate, with the option's own figure for the weights."""
    shape = attention_shape(json.loads((folder / "config.json").read_bytes()))
    assert shape is not None
    assert model.expect.memory_gb is not None
    value_bytes = 4 if _section(model).dtype == "float32" else 2
    kv_gb = shape.values_per_token * value_bytes / GB
    return MemoryEstimate(model.expect.memory_gb, "checkpoint", kv_gb, shape.num_heads, shape.num_kv_heads)


def _section(model: ModelConfig) -> VllmSection:
    assert isinstance(model.engine, VllmSection)
    return model.engine


class Listener(logging.Handler):
    """Keeps what vLLM warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Adds a message."""
        self.messages.append(" ".join(record.getMessage().split()))

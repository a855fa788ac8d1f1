"""Settings that vLLM's CUDA build chooses on GPUs, for every model option, without a GPU.

    make gpu-dry [ARGS="--write"]

The planner places each option on a node of eight A100, H100 or H200, and a replica's own arguments become vLLM's
configuration, by vLLM's code for CUDA: the driver's library is a stub that knows no device, and the platform's few
questions about the device are answered here. No weights are read: a checkpoint is its `config.json`, made by
transformers from the published shape (gpu_shapes.json). What only a device can tell (memory after loading, speed) is
not here.

Writes docs/gpu-settings.md with --write, else compares it: exit code 1 where it differs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.model_options import read_models
from eibench_ray.config.options_folder import config_folder
from eibench_ray.engines.engine_kind import Site
from eibench_ray.engines.python_environment import vllm_version
from eibench_ray.engines.registry import kind_of
from eibench_ray.weights.memory_estimate import GB, MemoryEstimate, attention_shape
from eibench_ray.weights.node_weights import Weights

if TYPE_CHECKING:
    from eibench_ray.config.schema import ModelConfig

PAGE = Path(__file__).parents[1] / "docs" / "gpu-settings.md"
SHAPES = Path(__file__).parent / "gpu_shapes.json"
_MARK = "<!-- The table below is written by bench/gpu_dry.py. -->\n"
# Functions of the driver that vLLM and torch want to find as they are imported; each says that there is no device.
_DRIVER = ("libtorch_cuda*.so", "libc10_cuda.so")
_NO_DEVICE = 100


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as vLLM asks about it."""

    title: str
    device_name: str
    capability: tuple[int, int]
    memory_gb: float  # as cluster.expect has it


GPUS = {
    "a100": Gpu("A100 80 GB", "NVIDIA A100-SXM4-80GB", (8, 0), 80),
    "h100": Gpu("H100 80 GB", "NVIDIA H100 80GB HBM3", (9, 0), 80),
    "h200": Gpu("H200 141 GB", "NVIDIA H200", (9, 0), 141),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A row of the table."""

    model: str
    gpu: str
    num_gpus: int  # of a replica
    step_tokens: int
    num_seqs: int
    kv_blocks: int | None  # by our estimate of what the weights and the rest take
    block_tokens: int
    attention: str
    graphs: str  # CUDA graphs: how many, and of how many requests the largest is
    executor: str
    warnings: tuple[str, ...] = ()


def main() -> None:
    """Compares or writes the page."""
    parser = argparse.ArgumentParser(description="What vLLM would choose on GPUs.")
    parser.add_argument("--write", action="store_true", help="write docs/gpu-settings.md")
    parser.add_argument("--gpu", choices=GPUS, help="only print the rows of one GPU, as JSON")
    args = parser.parse_args()
    installed = vllm_version()
    if installed is None or installed[1] != "cuda":
        sys.exit(
            f"this Python has {installed[0] if installed else 'no vLLM'}, and vLLM for CUDA is needed: make gpu-dry"
        )
    if args.gpu:
        print(json.dumps([asdict(row) for row in choose_for(args.gpu)]))
        return
    with tempfile.TemporaryDirectory(prefix="gpu_dry_") as folder:
        make_driver(Path(folder))
        rows = [row for gpu in GPUS for row in ask_apart(gpu, Path(folder))]
    table = render(rows)
    known = PAGE.read_text(encoding="utf-8")
    kept, _, written = known.partition(_MARK)
    if args.write:
        PAGE.write_text(kept + _MARK + "\n" + table, encoding="utf-8")
    elif written.strip() != table.strip():
        print(table)
        sys.exit(
            f"vLLM would choose other settings than {PAGE} says (above): look at them, then make gpu-dry ARGS=--write"
        )


def make_driver(folder: Path) -> None:
    """Builds a libcuda.so.1 that knows no device.

    Raises:
        CalledProcessError: there is no compiler.
    """
    import importlib.util

    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.origin is not None
    site = Path(found.origin).parents[1]
    libraries = [*(site / "vllm").glob("*.so"), *(path for name in _DRIVER for path in (site / "torch/lib").glob(name))]
    names: set[str] = set()
    for library in libraries:
        listed = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True)
        words = (line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines())
        names |= {word for word in words if word.startswith("cu") and word[2:3].isupper()}
    source = folder / "driver.c"
    source.write_text("".join(f"int {name}(void) {{ return {_NO_DEVICE}; }}\n" for name in sorted(names)))
    library = folder / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, source], check=True)


def ask_apart(gpu: str, driver: Path) -> list[Chosen]:
    """The rows of one GPU, from a process of its own: vLLM asks for its platform once."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(driver), "VLLM_LOGGING_LEVEL": "WARNING", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "bench.gpu_dry", "--gpu", gpu]
    asked = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [Chosen(**row) for row in json.loads(asked.stdout.splitlines()[-1])]


def choose_for(gpu: str) -> Iterator[Chosen]:
    """The settings of each option that runs in this Python's vLLM."""
    pretend(GPUS[gpu])
    shapes: Mapping[str, Any] = json.loads(SHAPES.read_text())
    with tempfile.TemporaryDirectory(prefix="gpu_dry_") as folder:
        for model in read_models(config_folder(), None):
            if model.engine.kind == "vllm" and model.name in shapes:
                yield choose(model, GPUS[gpu], write_checkpoint(shapes[model.name], Path(folder) / model.name))


def pretend(gpu: Gpu) -> None:
    """Has vLLM take this machine for one with eight such GPUs."""
    from vllm import platforms
    from vllm.platforms import cuda
    from vllm.platforms.interface import DeviceCapability

    class Pretended(cuda.NonNvmlCudaPlatform):  # type: ignore[misc]
        """The CUDA platform, but for what it would ask the driver."""

        @classmethod
        def get_device_capability(cls, device_id: int = 0) -> Any:  # noqa: ARG003
            return DeviceCapability(*gpu.capability)

        @classmethod
        def get_device_name(cls, device_id: int = 0) -> str:  # noqa: ARG003
            return gpu.device_name

        @classmethod
        def get_device_total_memory(cls, device_id: int = 0) -> int:  # noqa: ARG003
            return int(gpu.memory_gb * GB)

        @classmethod
        def is_fully_connected(cls, device_ids: Sequence[int]) -> bool:  # noqa: ARG003
            return True

        @classmethod
        def device_count(cls) -> int:
            return 8

    platforms._current_platform = Pretended()
    from vllm.model_executor.models import registry

    # vLLM looks at each class of models in a process of its own, which would ask the real platform, for 10 s each.
    registry._run_in_subprocess = lambda look: look()


def write_checkpoint(shape: Mapping[str, Any], folder: Path) -> Path:
    """A folder with the configuration of a checkpoint of a shape."""
    import transformers

    config = getattr(transformers, shape["class"])(**shape["config"])
    config.architectures = [shape["architecture"]]
    config.dtype = "bfloat16"
    config.save_pretrained(folder)
    return folder


def choose(model: ModelConfig, gpu: Gpu, folder: Path) -> Chosen:
    """The settings of one option on one kind of GPU."""
    from vllm.config import set_current_vllm_config
    from vllm.v1.attention.selector import get_attn_backend
    from vllm.v1.executor.abstract import Executor

    from eibench_ray.engines.vllm.vllm_arguments import engine_arguments
    from eibench_ray.engines.vllm.vllm_kind import vllm_weights
    from eibench_ray.engines.vllm.vllm_versions import throughput_context, to_engine_args

    kind, images = kind_of(model.engine), int(model.sees_image)
    memory = estimate(model, folder)
    cluster = ClusterConfig.model_validate({"name": "node", "gpu_memory_gb": gpu.memory_gb})
    needs = kind.needs(model.engine, Site(model.name, "cuda", cluster, memory, most_images=images))
    section = model.engine.model_copy(update=dict(needs.chosen))
    section = section.model_copy(update=dict(kind.spread(section, 1)) | {"source": str(folder), "revision": None})
    os.environ |= {
        name: value for name, value in kind.variables(section, "cuda", 0).items() if name != "VLLM_LOGGING_LEVEL"
    }
    said = Listener()
    logging.getLogger("vllm").addHandler(said)
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
    graphs, block_tokens = config.compilation_config, int(config.cache_config.block_size or 16)
    fit = needs.memory
    kv_blocks = None
    if fit is not None and fit.kv_gb is not None and memory.kv_gb_per_token:
        free_gb = (fit.available_gb - fit.gpu_memory_gb) * section.gpu_memory_utilization * section.num_gpus + fit.kv_gb
        kv_blocks = int(free_gb / memory.kv_gb_per_token / block_tokens)
    return Chosen(
        model.name,
        gpu.title,
        section.num_gpus,
        config.scheduler_config.max_num_batched_tokens,
        config.scheduler_config.max_num_seqs,
        kv_blocks,
        block_tokens,
        backend.get_name(),
        f"{len(graphs.cudagraph_capture_sizes)} to {graphs.max_cudagraph_capture_size}"
        if graphs.cudagraph_capture_sizes
        else "none",
        Executor.get_class(config).__name__,
        tuple(dict.fromkeys(said.messages)),
    )


def estimate(model: ModelConfig, folder: Path) -> MemoryEstimate:
    """The planner's estimate, with the option's own figure for the weights."""
    shape = attention_shape(json.loads((folder / "config.json").read_bytes()))
    assert shape is not None
    assert model.expect.memory_gb is not None
    kv_gb = shape.values_per_token * 2 / GB
    return MemoryEstimate(model.expect.memory_gb, "checkpoint", kv_gb, shape.num_heads, shape.num_kv_heads)


class Listener(logging.Handler):
    """Keeps what vLLM warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Adds a message, without what differs from one machine to the next."""
        self.messages.append(" ".join(record.getMessage().split()))


def render(rows: Sequence[Chosen]) -> str:
    """The table, and below it what vLLM warns of."""
    lines = [
        "| model | GPU | GPUs of a replica | tokens a step | requests in a batch | KV blocks | attention | CUDA graphs "
        "| executor |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row.model):
        blocks = "not known" if row.kv_blocks is None else f"{row.kv_blocks:,} of {row.block_tokens}"
        lines.append(
            f"| {row.model} | {row.gpu} | {row.num_gpus} | {row.step_tokens:,} | {row.num_seqs:,} | {blocks} | "
            f"{row.attention} | {row.graphs} | {row.executor} |"
        )
    warned: dict[str, list[str]] = {}
    for row in rows:
        for message in row.warnings:
            warned.setdefault(message, []).append(f"{row.model} ({row.gpu})")
    lines += ["", "What vLLM warns of:", ""] if warned else ["", "vLLM warns of nothing."]
    lines += [f"- {message} In: {', '.join(dict.fromkeys(where))}." for message, where in sorted(warned.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

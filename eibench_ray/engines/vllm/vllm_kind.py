"""vLLM as an engine kind. Nothing of vLLM is imported before an engine is created."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eibench_ray.engines.chat_template_check import lacks_chat_template
from eibench_ray.engines.chat_templates import no_template
from eibench_ray.engines.engine_kind import (
    Device,
    EngineDescription,
    EngineSetup,
    Needs,
    ServerAddress,
    ServerCommand,
    Site,
)
from eibench_ray.engines.loaded_kind import LoadedKind, describe_source, loaded_identity, loaded_traits
from eibench_ray.engines.loaded_section import is_pinned
from eibench_ray.engines.python_environment import CPU_BUILD, environment_identity, vllm_of, vllm_version
from eibench_ray.engines.sampling_support import SamplingRefusal, find_refusal
from eibench_ray.engines.sent_prompt import SentPrompt
from eibench_ray.engines.vllm.key_guard import VLLM_KEY
from eibench_ray.engines.vllm.vllm_adapters import find_misfit
from eibench_ray.engines.vllm.vllm_memory import choose_num_seqs, choose_tensor_parallel, find_ram_gb, fit_vllm
from eibench_ray.engines.vllm.vllm_section import LoraSection, VllmExtra, VllmSection
from eibench_ray.errors import ConfigError, EngineError, PlanError
from eibench_ray.plan.engine_traits import Adapter, EngineTraits
from eibench_ray.rows.digests import digest
from eibench_ray.rows.request import OPTIONAL_SAMPLING, Request, Sampling
from eibench_ray.weights.checkpoint_files import CheckpointPart
from eibench_ray.weights.content_identity import adapter_identity
from eibench_ray.weights.hub_cache import HubModel
from eibench_ray.weights.memory_estimate import MemoryEstimate, checkpoint_on_disk, estimate_memory
from eibench_ray.weights.weights_request import WeightsRequest
from eibench_ray.weights.weights_source import local_folder, source_identity

if TYPE_CHECKING:
    from eibench_ray.engines.vllm.vllm_engine import VllmEngine
    from eibench_ray.weights.adapter_weights import LoadedAdapter
    from eibench_ray.weights.node_weights import Weights

_VARIABLES = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # A row whose logits are no numbers is an error, and not an answer of "!!!!".
    "VLLM_COMPUTE_NANS_IN_LOGITS": "1",
}
# One process less per engine: it starts in 15-22 s instead of 23-28 (docs/measurements.md).
_CPU_VARIABLES = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
# FlashInfer's sampler serves no request that has a seed, and all of ours have one; where it is not compiled yet, it
# wants nvcc (vLLM 0.32, v1/sample/ops/topk_topp_sampler.py).
_GPU_VARIABLES = {"VLLM_USE_FLASHINFER_SAMPLER": "0"}
# Operators of vLLM report 10 to 20% fewer tokens per second where requests name adapters.
_ADAPTER_SPEED = 0.85
# Arguments that may bring a chat template from elsewhere.
_ELSEWHERE = ("tokenizer", "tokenizer_mode", "hf_config_path", "hf_overrides", "load_format", "model_impl")
# For these vLLM has templates or renderers of its own. Source: vLLM 0.32, transformers_utils/chat_templates/registry.py
# and ModelConfig.
_OWN_TEMPLATES = (
    *("blip-2", "clip", "colpali", "deepseek", "unlimited", "minicpm", "paligemma", "siglip", "kimi", "inkling"),
    *("mistral", "mixtral", "pixtral", "voxtral", "cohere", "terratorch"),
)

_NO_THINKING = (
    "is told not to look for thinking (model.engine.reasoning is none): set that to auto or to a parser's name"
)


class VllmKind(LoadedKind[VllmSection]):
    """Weights in vLLM, on the GPUs of one node or of several."""

    section = VllmSection
    compares_choices = True
    server_key = VLLM_KEY

    def traits(self, section: VllmSection) -> EngineTraits:
        """Its stages may lie on different nodes, unless there are copies of them."""
        num_copies = section.data_parallel
        stages = section.pipeline_parallel if num_copies == 1 else 1
        return replace(loaded_traits(section, section.num_seqs * num_copies, stages), adapter_speed=_ADAPTER_SPEED)

    def identity(self, section: VllmSection, recording: str | None) -> Mapping[str, Any]:  # noqa: ARG002
        """The version of what computes, beside weights and keys."""
        installed = vllm_version()
        loaded = dict(loaded_identity(section))
        if section.lora is not None:
            loaded["lora"] = _adapter_identity(section.lora)
        found = {
            **loaded,
            "version": installed[0] if installed else None,
            **(environment_identity(section.runtime_env) if section.runtime_env else {}),
        }
        # The one way of loading that makes other weights: random ones.
        return found | ({"weights": "dummy"} if section.args.get("load_format") == "dummy" else {})

    def base(self, section: VllmSection) -> VllmSection:
        """The section without the adapter."""
        return section.model_copy(update={"lora": None}) if section.lora else section

    def adapter(self, section: VllmSection) -> Adapter | None:
        """The adapter that the model's requests name.

        Raises:
            PlanError: it does not fit its base, as far as both are on this machine.
        """
        lora = section.lora
        if lora is None:
            return None
        key, pinned = digest(_adapter_identity(lora), size=10), is_pinned(lora.source, lora.revision)
        adapter = Adapter(key, lora.source, lora.source, lora.revision, lora.rank, lora.base, pinned)
        folder = checkpoint_on_disk(lora.source, lora.revision)
        if folder is not None and folder.is_dir():
            base = checkpoint_on_disk(section.source, section.revision)
            if misfit := find_misfit(section, adapter, folder, base):
                raise PlanError(f"the adapter {lora.source} cannot be added to {section.source}: {misfit}")
        return adapter

    def adapter_weights(self, adapter: Adapter) -> WeightsRequest:
        """Its configuration, and its weights in one format."""
        return WeightsRequest(adapter.source, adapter.revision, CheckpointPart("adapter"))

    def needs(self, section: VllmSection, site: Site) -> Needs:
        """The GPUs that share its layers, and the requests in a batch; `auto`: by the memory that there is.

        Raises:
            PlanError: all GPUs of a node together are too small, or there are no experts to deal out.
        """
        chosen: dict[str, Any] = {}
        if section.expert_parallel:
            _check_experts(site.model, section, site.memory or self.memory(section))
        if section.tensor_parallel == "auto":
            number = choose_tensor_parallel(section, site)
            chosen = {"tensor_parallel": number}
            section = section.model_copy(update=chosen)
        if section.max_num_seqs == "auto" and site.device == "cuda":
            chosen = {**chosen, "max_num_seqs": choose_num_seqs(section, site)}
        fit = fit_vllm(section, site, site.memory) if site.memory else None
        return Needs(section.num_gpus if site.has_gpus else 0, fit, chosen)

    def sampling_refusal(self, section: VllmSection, sampling: Sampling) -> SamplingRefusal | None:
        """It does all that has a name of its own, and vLLM's further sampling parameters."""
        if section.reasoning == "none" and (budget := "thinking_token_budget") in sampling.extra:
            return SamplingRefusal.of_extra(budget, sampling, _NO_THINKING)
        return find_refusal(sampling, OPTIONAL_SAMPLING, VllmExtra)

    def memory(self, section: VllmSection) -> MemoryEstimate | None:
        """By the checkpoint's metadata, in the dtypes that vLLM makes of it."""
        kv_cache_dtype = str(section.args.get("kv_cache_dtype", "auto"))
        return estimate_memory(section.source, section.revision, section.dtype, section.quantization, kv_cache_dtype)

    def ram_gb(self, section: VllmSection, memory: MemoryEstimate) -> float:
        """Weights, KV cache and processes; known where the size of the cache is set."""
        return find_ram_gb(section, memory)

    def weights(self, section: VllmSection) -> WeightsRequest:
        """The checkpoint in its load format, and what further arguments name."""
        return vllm_weights(section)

    def lacks_chat_template(self, section: VllmSection, folder: Path) -> bool:
        """Whether neither the checkpoint, the configuration nor vLLM itself has one."""
        if section.chat_template or section.trust_remote_code or any(name in section.args for name in _ELSEWHERE):
            return False
        return lacks_chat_template(folder, _OWN_TEMPLATES)

    def cpu_build(self, section: VllmSection, device: Device, installed: str | None) -> str:  # noqa: ARG002
        """A build of vLLM for CPUs, in the sweep's Python or in the engine's own."""
        if section.runtime_env is not None:
            installed = vllm_of(section.runtime_env, installed)
        return installed if installed and installed.startswith(CPU_BUILD) else ""

    def variables(self, section: VllmSection, device: Device, replica_id: int) -> Mapping[str, str]:  # noqa: ARG002
        """Variables that make it quiet and careful, and keep it apart from other builds of vLLM on its node."""
        own = dict(_CPU_VARIABLES if device == "cpu" else _GPU_VARIABLES)
        if device == "cpu" and section.enforce_eager:
            # Eager engines, too, have torch compile how log probabilities are ranked, each anew (vLLM 0.32,
            # v1/sample/ops/logprobs.py): a compiler's 6 to 10 s of the first row.
            own["TORCHDYNAMO_DISABLE"] = "1"
        return _VARIABLES | own | _kept_apart(section)

    def spread(self, section: VllmSection, num_bundles: int) -> Mapping[str, Any]:
        """Its executor.

        Left alone, vLLM 0.32 takes Ray's executor wherever it finds itself in a placement group (config/parallel.py),
        and that wants bundles of one GPU. Within a node its own processes are as good and need nothing else.
        """
        return {"args": {"distributed_executor_backend": "ray" if num_bundles > 1 else "mp"} | section.args}

    def server(
        self,
        section: VllmSection,
        device: Device,
        weights: Weights,
        address: ServerAddress,
        adapters: Sequence[LoadedAdapter] = (),
    ) -> ServerCommand:
        """Its OpenAI-compatible server, which fetches no picture from an address.

        Raises:
            EngineError: it would find no chat template, or its adapter cannot be had.
        """
        from eibench_ray.engines.vllm.server_command import MODULE, server_arguments
        from eibench_ray.engines.vllm.vllm_arguments import engine_arguments

        if self.lacks_chat_template(section, Path(weights.source)):
            raise EngineError(no_template(section.source))
        if reason := next((one.reason for one in adapters if one.reason), ""):
            raise EngineError(reason)
        arguments = server_arguments(
            engine_arguments(section, device, weights, adapters=adapters),
            section.chat_template,
            address,
            section.chat_template_kwargs,
            [one.weights.source for one in adapters],
        )
        # A host that is allowed could send vLLM on to one that is not.
        return ServerCommand(("-m", MODULE, *arguments), {"VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"})

    def show_sent(
        self,
        section: VllmSection,
        weights: Weights | None,
        asked: Sequence[tuple[Request, Sequence[bytes]]],
    ) -> list[SentPrompt]:
        """The prompts as vLLM's own renderer makes them.

        Raises:
            EngineError: this Python's vLLM is not the engine's, or it cannot render here.
        """
        installed = vllm_version()
        if section.runtime_env is not None or installed is None:
            why = "has a Python environment of its own" if installed else "needs vLLM, which is not installed here"
            raise EngineError(f"{section.source} {why}")
        # Read when it is imported.
        os.environ.update({name: value for name, value in _VARIABLES.items() if name not in os.environ})
        from eibench_ray.engines.vllm.vllm_renderer import render_apart

        return render_apart(section, installed[1], weights, asked)

    def describe(self, section: VllmSection) -> EngineDescription:
        """Its version, where it is not the sweep's."""
        runs_by = "vLLM"
        if environment := section.runtime_env:
            runs_by = f"{(environment.packages or ['another Python'])[0].replace('vllm==', 'vLLM ')} of its own"
        described = describe_source(runs_by, section.source, section.revision, section.dtype, section.chat_template)
        return replace(described, place=f"{described.place} + {section.lora.source}") if section.lora else described

    def create(self, section: VllmSection, setup: EngineSetup) -> VllmEngine:
        """An engine in this process; what it will fork begins to import vLLM, too."""
        from eibench_ray.engines.vllm.core_process import begin_imports

        forks = begin_imports(section, setup.device)
        from eibench_ray.engines.vllm.vllm_engine import VllmEngine

        return VllmEngine(section, setup.device, setup.weights, setup.most_images, setup.adapters, forks=forks)


KIND = VllmKind()


def vllm_weights(section: VllmSection) -> WeightsRequest:
    """Weights request of vLLM: the checkpoint, and what its further arguments name."""
    args = section.args
    return WeightsRequest(
        section.source,
        section.revision,
        CheckpointPart("vllm", str(args.get("load_format", "auto"))),
        runs_code=section.trust_remote_code,
        has_own_cache="download_dir" in args,
        # Over several nodes vLLM starts its processes with Ray.
        is_spread=args.get("distributed_executor_backend") == "ray",
        side_models=tuple(model for model in _side_models(args) if local_folder(model.hub_id) is None),
    )


def _adapter_identity(lora: LoraSection) -> str:
    """The adapter's source and revision, or its content.

    Raises:
        PlanError: its folder is none of an adapter.
    """
    try:
        return source_identity(lora.source, lora.revision, content=adapter_identity)
    except ConfigError as error:
        raise PlanError(f"engine.lora: {error}") from error


def _check_experts(name: str, section: VllmSection, memory: MemoryEstimate | None) -> None:
    if memory is not None and memory.source == "checkpoint" and not memory.num_experts:
        raise PlanError(
            f"model {name!r} has expert_parallel, but {section.source} has no experts (config.json): set "
            f"model.engine.expert_parallel to false; tensor_parallel shares dense layers"
        )


def _side_models(args: Mapping[str, Any]) -> Iterator[HubModel]:
    """A tokenizer, a configuration, a model that drafts."""
    if tokenizer := args.get("tokenizer"):
        yield HubModel(str(tokenizer), args.get("tokenizer_revision"), CheckpointPart("tokenizer"))
    if other := args.get("hf_config_path"):
        yield HubModel(str(other), None, CheckpointPart("tokenizer"))
    draft = args.get("speculative_config") or {}
    if isinstance(draft, dict) and draft.get("model"):
        yield HubModel(str(draft["model"]), draft.get("revision"), CheckpointPart("vllm"))


def _kept_apart(section: VllmSection) -> dict[str, str]:
    """Environment variables by which each build of vLLM has a cache of its own.

    What vLLM has learned of its own model classes is one file per class, which two versions would overwrite for each
    other at every start. Replicas of one build share what the first of them has compiled (`compile_turn.py`).

    Ports need no setting. vLLM 0.32 takes none where an engine lies on one node (a rendezvous by file, sockets named by
    uuid), and one that the kernel chooses where it spans several; older versions ask the kernel for a free one. With
    VLLM_PORT all would look upwards from a given one, and find the same until somebody binds it.
    """
    if section.runtime_env is None:
        return {}
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vllm"
    root = Path(os.environ.get("VLLM_CACHE_ROOT") or default)
    own = f"environment-{digest(section.runtime_env.model_dump(), size=4)}"
    return {"VLLM_CACHE_ROOT": str(root / "eibench_ray" / own)}

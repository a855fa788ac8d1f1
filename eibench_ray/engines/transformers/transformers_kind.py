"""transformers as an engine kind. Nothing of it is imported before an engine is created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eibench_ray.engines.engine_kind import Device, EngineSetup, Needs, Site
from eibench_ray.engines.engine_memory import PROCESS_RAM_GB, fit_memory, kv_cache_gb
from eibench_ray.engines.loaded_kind import LoadedKind, loaded_identity, loaded_traits
from eibench_ray.engines.python_environment import CPU_BUILD, transformers_environment, transformers_versions
from eibench_ray.engines.sampling_support import SamplingRefusal, find_refusal
from eibench_ray.engines.sent_prompt import SentPrompt
from eibench_ray.engines.transformers.transformers_section import TransformersExtra, TransformersSection
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import EngineTraits
from eibench_ray.rows.request import OPTIONAL_SAMPLING, Request, Sampling
from eibench_ray.weights.memory_estimate import MemoryEstimate, estimate_memory

if TYPE_CHECKING:
    from eibench_ray.engines.transformers.transformers_engine import TransformersEngine
    from eibench_ray.weights.node_weights import Weights


class TransformersKind(LoadedKind[TransformersSection]):
    """Weights in transformers, on cores or on the GPUs of one node."""

    section = TransformersSection
    compares_choices = True

    def traits(self, section: TransformersSection) -> EngineTraits:
        """Those of what loads weights."""
        return loaded_traits(section, section.max_num_seqs)

    def identity(self, section: TransformersSection, recording: str | None) -> Mapping[str, Any]:  # noqa: ARG002
        """The versions of what computes, beside weights and keys."""
        return {
            **loaded_identity(section),
            "version": transformers_versions(),
            **(transformers_environment(section.runtime_env) if section.runtime_env else {}),
        }

    def needs(self, section: TransformersSection, site: Site) -> Needs:
        """The GPUs that share its layers."""
        if not site.has_gpus or site.memory is None:
            return Needs(section.num_gpus if site.has_gpus else 0)
        length = section.max_model_len
        fit = fit_memory(site.memory, section.num_gpus, site.cluster, site.nodes, max_model_len=length)
        return Needs(section.num_gpus, fit)

    def sampling_refusal(self, section: TransformersSection, sampling: Sampling) -> SamplingRefusal | None:  # noqa: ARG002
        """It does all that has a name of its own, and some of GenerationConfig's."""
        return find_refusal(sampling, OPTIONAL_SAMPLING, TransformersExtra)

    def memory(self, section: TransformersSection) -> MemoryEstimate | None:
        """By the checkpoint's metadata."""
        return estimate_memory(section.source, section.revision, section.dtype, None, keeps_float32=True)

    def ram_gb(self, section: TransformersSection, memory: MemoryEstimate) -> float:
        """Weights, the cache of a batch of longest sequences, and the process."""
        kv_gb = kv_cache_gb(memory, section.max_model_len)
        return 0.0 if kv_gb is None else memory.weights_gb + section.max_num_seqs * kv_gb + PROCESS_RAM_GB

    def cpu_build(self, section: TransformersSection, device: Device, installed: str | None) -> str:  # noqa: ARG002
        """It runs where the sweep's vLLM is made for."""
        return installed if device == "cpu" and installed and installed.startswith(CPU_BUILD) else ""

    def show_sent(
        self,
        section: TransformersSection,
        weights: Weights | None,
        asked: Sequence[tuple[Request, Sequence[bytes]]],
    ) -> list[SentPrompt]:
        """The prompts as its processor makes them.

        Raises:
            EngineError: this Python is not the engine's, or they cannot be made here.
        """
        if section.runtime_env is not None:
            raise EngineError(f"{section.source} has a Python environment of its own")
        self.check_installed(section)
        from eibench_ray.engines.transformers.transformers_prompts import show_prompts
        from eibench_ray.weights.node_weights import Weights

        return show_prompts(section, weights or Weights(self.weights(section)), asked)

    def create(self, section: TransformersSection, setup: EngineSetup) -> TransformersEngine:
        """An engine in this process."""
        from eibench_ray.engines.transformers.transformers_engine import TransformersEngine

        return TransformersEngine(section, setup.device, setup.weights)


KIND = TransformersKind()

"""The section of a vLLM engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from eibench_ray.config.engine_section import Identity, KeyUse, LaterIdentity, Tuning
from eibench_ray.config.section import Frozen, PathText, number_or_auto
from eibench_ray.engines.loaded_section import LoadedSection
from eibench_ray.engines.reasoning_parsers import REASONING_PARSERS

# Arguments of vLLM 0.32 on which no answer depends but for rounding. What is not here counts as identity.
_TUNING = {
    "loading": "download_dir hf_token ignore_patterns load_format max_parallel_loading_workers pt_load_map_location "
    "model_loader_extra_config safetensors_load_strategy safetensors_prefetch_block_size use_tqdm_on_load "
    "safetensors_prefetch_num_threads",
    "media: how many and from where, not how they are prepared": "allowed_local_media_path allowed_media_domains "
    "disable_chunked_mm_input limit_mm_per_prompt mm_hasher_algorithm mm_ipc_gpu_memory_gb mm_processor_cache_gb "
    "mm_processor_cache_type mm_shm_cache_max_object_size_mb mm_tensor_ipc renderer_num_workers skip_mm_profiling",
    "batches and memory": "async_scheduling block_size cpu_offload_gb enable_chunked_prefill enable_prefix_caching "
    "gpu_memory_utilization kv_cache_memory_bytes kv_offloading_backend kv_offloading_size max_num_active_seqs "
    "long_prefill_token_threshold max_num_batched_tokens max_num_queued_reqs max_num_queued_tokens max_num_seqs "
    "max_num_scheduled_tokens num_gpu_blocks_override prefix_caching_hash_algo scheduling_policy stream_interval "
    "watermark",
    "processes and ports": "data_parallel_address data_parallel_backend data_parallel_rpc_port data_parallel_size "
    "device_ids disable_custom_all_reduce distributed_executor_backend distributed_timeout_seconds master_addr "
    "enable_expert_parallel master_port nnodes node_rank numa_bind numa_bind_cpus numa_bind_nodes "
    "pipeline_parallel_size shutdown_timeout tensor_parallel_size",
    "adapters: how many at once, and where": "fully_sharded_loras max_cpu_loras max_loras specialize_active_lora",
    "what is compiled": "compilation_config cudagraph_capture_sizes enforce_eager max_cudagraph_capture_size "
    "optimization_level performance_mode",
    "what is reported": "aggregate_engine_logging collect_detailed_traces cudagraph_metrics disable_log_stats "
    "enable_log_requests enable_mfu_metrics kv_cache_metrics log_level otlp_traces_endpoint served_model_name "
    "show_hidden_metrics_for_version",
}
# Arguments that have a key of their own, by which GPUs are counted, code is trusted, adapters are known, ..
_OWN_KEYS = {
    "trust_remote_code": "trust_remote_code",
    "reasoning_parser": "reasoning",
    "tensor_parallel_size": "tensor_parallel",
    "pipeline_parallel_size": "pipeline_parallel",
    "data_parallel_size": "data_parallel",
    "enable_expert_parallel": "expert_parallel",
    "enable_lora": "lora",
    "lora_modules": "lora",
    "max_lora_rank": "lora",
}
# Requests in one batch where no GPU says more.
DEFAULT_NUM_SEQS = 256
TUNING_ARGUMENTS = frozenset(name for names in _TUNING.values() for name in names.split())


class VllmExtra(Frozen):
    """Keys of `sampling.extra`: fields of vLLM 0.32's SamplingParams that change what is answered.

    Those that this package sets itself are none of them, nor those that say what else is reported.
    """

    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    extra_args: dict[str, Any] | None = None
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    logit_bias: dict[Annotated[int, Field(strict=False)], float] | None = None
    min_tokens: NonNegativeInt = 0
    repetition_detection: dict[str, int] | None = None
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    stop_token_ids: list[int] | None = None
    thinking_token_budget: NonNegativeInt | None = None
    watermarking: bool | None = None


class LoraSection(Frozen):
    """An adapter (LoRA) that a model adds to the weights of its engine.

    Attributes:
        source: a Hugging Face id or a folder, as PEFT saves it.
        rank: that vLLM makes room for; at least the adapter's own.
        base: the base that the adapter names, where the engine's source is the same weights under another name.
    """

    source: PathText
    revision: str | None = None  # the hub's commit or tag; None for a folder
    rank: Annotated[PositiveInt, Field(le=512)]  # vLLM 0.32 takes no larger one
    base: str | None = None


class VllmSection(LoadedSection):
    """A vLLM engine in a Ray actor.

    Attributes:
        stop: texts that end every answer, beside those of a call, where the checkpoint's own tokens do not.
        lora: an adapter; models that differ in it alone are one engine, loaded once.
        kv_cache_gib: GiB for the KV cache; None lets vLLM take its share of the GPU's memory.
        args: further vLLM engine arguments (AsyncEngineArgs); those that `TUNING_ARGUMENTS` has are tuning, all others
            part of the engine's identity.
        reasoning: besides, one of vLLM's reasoning parsers by name, e.g. `qwen3` or `deepseek_r1`.
        tensor_parallel: GPUs of one node that share each layer; `auto`: the fewest whose memory suffices.
        data_parallel: copies of all layers but the experts', which all GPUs share; of one node.
        expert_parallel: whether each GPU has whole experts, in place of a part of each.
        max_num_seqs: requests in one batch of each copy; `auto`: what the memory left by the weights has room for.
    """

    kind: Literal["vllm"]
    quantization: Identity[str | None] = None
    stop: LaterIdentity[list[str]] = []
    max_model_len: Identity[PositiveInt]
    args: Annotated[dict[str, Any], KeyUse(is_identity=True, tuning_keys=TUNING_ARGUMENTS)] = {}
    lora: LaterIdentity[LoraSection | None] = None
    max_num_seqs: Tuning[PositiveInt | Literal["auto"]] = DEFAULT_NUM_SEQS
    tensor_parallel: Tuning[PositiveInt | Literal["auto"]] = 1
    pipeline_parallel: Tuning[PositiveInt] = 1
    data_parallel: Tuning[PositiveInt] = 1
    expert_parallel: Tuning[bool] = False
    gpu_memory_utilization: Tuning[Annotated[float, Field(gt=0, le=1)]] = 0.9
    kv_cache_gib: Tuning[PositiveFloat | None] = None
    enforce_eager: Tuning[bool] = False

    @field_validator("tensor_parallel", mode="before")
    @classmethod
    def _is_a_number_or_auto(cls, value: object) -> object:
        """One message instead of one per member of the union."""
        return number_or_auto(value, "GPUs")

    @field_validator("max_num_seqs", mode="before")
    @classmethod
    def _is_a_batch_or_auto(cls, value: object) -> object:
        return number_or_auto(value, "requests")

    @model_validator(mode="after")
    def _knows_the_parser(self) -> VllmSection:
        known = {"auto", "none", *REASONING_PARSERS}
        is_other = self.runtime_env is not None or "reasoning_parser_plugin" in self.args  # whose names are not known
        if self.reasoning not in known and not is_other:
            raise ValueError(
                f"reasoning is {self.reasoning!r}: should be auto, none, or one of vLLM's reasoning parsers "
                f"({', '.join(sorted(REASONING_PARSERS))})"
            )
        return self

    @field_validator("args")
    @classmethod
    def _leaves_keys_to_the_section(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, key in _OWN_KEYS.items():
            if value.get(name):
                what = ": {source: FOLDER, rank: R}" if key == "lora" else ""
                raise ValueError(f"{name} is no further argument: set engine.{key}{what} of the model")
        return value

    @model_validator(mode="after")
    def _has_gpus_to_share_experts(self) -> VllmSection:
        if self.expert_parallel and self.tensor_parallel == 1 and self.data_parallel == 1:
            raise ValueError(
                "expert_parallel deals the experts out to tensor_parallel x data_parallel GPUs, and both are 1: raise "
                "one of them, or set expert_parallel to false"
            )
        return self

    @property
    def num_seqs(self) -> int:
        """Requests in one batch of each copy; of an `auto` that no GPU has resolved, the default."""
        return DEFAULT_NUM_SEQS if self.max_num_seqs == "auto" else self.max_num_seqs

    @property
    def num_gpus(self) -> int:
        """GPUs that one replica owns; of an engine whose `auto` the plan has resolved."""
        assert self.tensor_parallel != "auto"
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel

"""The section of a vLLM engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from eibench_ray.config.section import number_or_auto
from eibench_ray.engines.loaded_section import LoadedSection


class VllmSection(LoadedSection):
    """A vLLM engine in a Ray actor.

    Attributes:
        kv_cache_gib: GiB for the KV cache; None lets vLLM take its share of the GPU's memory.
        args: further vLLM engine arguments (AsyncEngineArgs), part of the engine's identity.
        tensor_parallel: GPUs of one node that share each layer; `auto`: the fewest whose memory suffices.
    """

    kind: Literal["vllm"]
    quantization: str | None = None
    max_model_len: PositiveInt
    args: dict[str, Any] = {}
    max_num_seqs: PositiveInt = 256
    tensor_parallel: PositiveInt | Literal["auto"] = 1
    pipeline_parallel: PositiveInt = 1
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    kv_cache_gib: PositiveFloat | None = None
    enforce_eager: bool = False

    @field_validator("tensor_parallel", mode="before")
    @classmethod
    def _is_a_number_or_auto(cls, value: object) -> object:
        """One message instead of one per member of the union."""
        return number_or_auto(value, "GPUs")

    @field_validator("args")
    @classmethod
    def _trusts_in_one_place(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Code is trusted by a key that says of which commit."""
        if value.get("trust_remote_code"):
            raise ValueError("trust_remote_code is no further argument: set engine.trust_remote_code of the model")
        return value

    @property
    def num_gpus(self) -> int:
        """GPUs that one replica owns; of an engine whose `auto` the plan has resolved."""
        assert self.tensor_parallel != "auto"
        return self.tensor_parallel * self.pipeline_parallel

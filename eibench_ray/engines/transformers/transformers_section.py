"""The section of a transformers engine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from eibench_ray.config.engine_section import Identity, LaterIdentity, Tuning
from eibench_ray.config.section import Frozen
from eibench_ray.engines.loaded_section import LoadedSection
from eibench_ray.engines.thinking import Reasoning

_Share = Annotated[float, Field(gt=0, lt=1)]


class TransformersExtra(Frozen):
    """Keys of `sampling.extra`, by the names of transformers' GenerationConfig."""

    typical_p: _Share | None = None
    epsilon_cutoff: _Share | None = None
    eta_cutoff: _Share | None = None
    no_repeat_ngram_size: PositiveInt | None = None


class TransformersSection(LoadedSection):
    """A model in Hugging Face transformers, in a Ray actor: what vLLM does not load, and what it is compared with.

    Attributes:
        max_model_len: tokens, prompt and answer; None: as many as the checkpoint takes.
    """

    key_remedies = {
        "lora": "merge the adapter into its base (merge_and_unload of PEFT) and set engine.source to the result"
    }

    kind: Literal["transformers"]
    reasoning: LaterIdentity[Reasoning] = "auto"
    max_model_len: Identity[PositiveInt | None] = None
    max_num_seqs: Tuning[PositiveInt] = 16  # requests in one batch; fewer once the memory was too small
    num_gpus: Tuning[PositiveInt] = 1  # GPUs of one node that share the layers, one after the other; none on a CPU

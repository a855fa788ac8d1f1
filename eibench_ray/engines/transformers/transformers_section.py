"""The section of a transformers engine."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from eibench_ray.config.engine_section import Identity, Tuning
from eibench_ray.engines.loaded_section import LoadedSection


class TransformersSection(LoadedSection):
    """A model in Hugging Face transformers, in a Ray actor: what vLLM does not load, and what it is compared with.

    Attributes:
        max_model_len: tokens, prompt and answer; None: as many as the checkpoint takes.
    """

    kind: Literal["transformers"]
    max_model_len: Identity[PositiveInt | None] = None
    max_num_seqs: Tuning[PositiveInt] = 16  # requests in one batch; fewer once the memory was too small
    num_gpus: Tuning[PositiveInt] = 1  # GPUs of one node that share the layers, one after the other; none on a CPU

"""What the sections of all engine kinds have in common, and where kinds are found."""

from __future__ import annotations

from eibench_ray.config.section import Frozen
from eibench_ray.plugins import PluginGroup

ENGINE_KINDS = PluginGroup(
    "eibench_ray.engines",
    {
        "vllm": "eibench_ray.engines.vllm.vllm_kind:KIND",
        "transformers": "eibench_ray.engines.transformers.transformers_kind:KIND",
        "openai": "eibench_ray.engines.openai.openai_kind:KIND",
        "embedding": "eibench_ray.engines.embedding.embedding_kind:KIND",
        "replay": "eibench_ray.engines.replay:KIND",
        "echo": "eibench_ray.engines.echo:KIND",
    },
    "engine kind",
)


class EngineSection(Frozen):
    """The section `engine` of a model, as far as every kind has it.

    Attributes:
        kind: the engine kind's name; in a kind's own section a Literal of it.
    """

    kind: str

"""Plain request for the weights that an engine loads: what brings weights knows no engine."""

from __future__ import annotations

from dataclasses import dataclass

from eibench_ray.weights.checkpoint_files import CheckpointPart
from eibench_ray.weights.hub_cache import HubModel
from eibench_ray.weights.weights_source import PREFIX, local_folder

_ALL = CheckpointPart("transformers")


@dataclass(frozen=True, slots=True)
class WeightsRequest:
    """Weights that an engine loads."""

    source: str  # a Hugging Face id, a folder, or `checkpoint:NAME` for one that is built
    revision: str | None = None  # the hub's branch, tag or commit; None: the main branch, or no hub
    part: CheckpointPart = _ALL  # the files that are loaded
    runs_code: bool = False  # whether code that comes with the checkpoint is run
    has_own_cache: bool = False  # whether the engine keeps what it fetches elsewhere, and fetches it itself
    is_spread: bool = False  # whether its processes lie on several nodes: then each finds the weights on its own
    side_models: tuple[HubModel, ...] = ()  # what else is loaded of the hub: a tokenizer, a model that drafts

    @property
    def hub_model(self) -> HubModel | None:
        """Model that is loaded from the hub's cache; None where there is none."""
        if self.source.startswith(PREFIX) or local_folder(self.source) or self.has_own_cache:
            return None
        return HubModel(self.source, self.revision, self.part)

"""Plain request for the weights that an engine loads: what brings weights knows no engine."""

from __future__ import annotations

from dataclasses import dataclass

from eibench_ray.weights.checkpoint_files import CheckpointPart
from eibench_ray.weights.hub_cache import HubModel
from eibench_ray.weights.weights_source import PREFIX, local_folder

_ALL = CheckpointPart("transformers")


@dataclass(frozen=True, slots=True)
class WeightsRequest:
    """Weights that an engine loads.

    Attributes:
        source: a Hugging Face id, a folder, or `checkpoint:NAME` for one that is built.
        revision: the hub's branch, tag or commit; None: the main branch, or no hub.
        part: the files that are loaded.
        runs_code: whether code that comes with the checkpoint is run.
        has_own_cache: whether the engine keeps what it fetches elsewhere, and fetches it itself.
        is_spread: whether its processes lie on several nodes: then each finds the weights on its own.
        side_models: what else is loaded of the hub: a tokenizer, a model that drafts.
    """

    source: str
    revision: str | None = None
    part: CheckpointPart = _ALL
    runs_code: bool = False
    has_own_cache: bool = False
    is_spread: bool = False
    side_models: tuple[HubModel, ...] = ()

    @property
    def hub_model(self) -> HubModel | None:
        """Model that is loaded from the hub's cache; None where there is none."""
        if self.source.startswith(PREFIX) or local_folder(self.source) or self.has_own_cache:
            return None
        return HubModel(self.source, self.revision, self.part)

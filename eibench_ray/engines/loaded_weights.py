"""The weights that an engine loads, from its section."""

from __future__ import annotations

from eibench_ray.engines.embedding.embedding_section import EmbeddingSection
from eibench_ray.engines.loaded_section import LoadedSection
from eibench_ray.weights.weights_request import WeightsRequest


def request_of(section: LoadedSection | EmbeddingSection) -> WeightsRequest:
    """A section's checkpoint, without what an engine's own arguments name besides."""
    runs_code = isinstance(section, LoadedSection) and section.trust_remote_code
    return WeightsRequest(section.source, section.revision, runs_code=runs_code)

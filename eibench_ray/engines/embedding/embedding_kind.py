"""A text encoder as an engine kind. Nothing heavy is imported before an engine is created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eibench_ray.config.engine_section import identity_of
from eibench_ray.engines.embedding.embedding_section import SENTENCIZER, EmbeddingSection
from eibench_ray.engines.engine_kind import EngineDescription, EngineKind, EngineSetup, Needs, Site
from eibench_ray.engines.loaded_kind import describe_source
from eibench_ray.engines.loaded_section import is_pinned
from eibench_ray.plan.engine_traits import EngineTraits
from eibench_ray.versions import installed_version
from eibench_ray.weights.weights_request import WeightsRequest
from eibench_ray.weights.weights_source import source_identity

if TYPE_CHECKING:
    from eibench_ray.engines.embedding.embedding_engine import EmbeddingEngine


class EmbeddingKind(EngineKind[EmbeddingSection]):
    """Embeds the sentences of answers, on a GPU or on cores."""

    section = EmbeddingSection

    def traits(self, section: EmbeddingSection) -> EngineTraits:
        """It loads weights, and is no language model."""
        return EngineTraits(section.max_num_seqs, is_loaded=True, is_pinned=is_pinned(section.source, section.revision))

    def identity(self, section: EmbeddingSection, recording: str | None) -> Mapping[str, Any]:  # noqa: ARG002
        """Weights, pooling, splitter, and the versions of what computes."""
        version = None if section.splitter == SENTENCIZER else installed_version(section.splitter)
        found = identity_of(section)
        return found | {
            "transformers": installed_version("transformers"),
            "spacy": installed_version("spacy"),
            "weights": source_identity(found.pop("source"), found.pop("revision")),
            "splitter": [section.splitter, version],
        }

    def needs(self, section: EmbeddingSection, site: Site) -> Needs:
        """As many GPUs as configured, one or none."""
        return Needs(section.num_gpus if site.has_gpus else 0)

    def weights(self, section: EmbeddingSection) -> WeightsRequest:
        """The encoder's."""
        return WeightsRequest(section.source, section.revision)

    def packages(self, section: EmbeddingSection) -> str:
        """The splitter, and the packages around it."""
        return section.splitter

    def check_installed(self, section: EmbeddingSection) -> None:
        """Returns if spaCy, the splitter and transformers are installed.

        Raises:
            ConfigError: one is not.
        """
        from eibench_ray.engines.embedding.sentences import check_packages

        check_packages(section)

    def describe(self, section: EmbeddingSection) -> EngineDescription:
        """Its source."""
        return describe_source(section.kind, section.source, section.revision, section.dtype, None)

    def create(self, section: EmbeddingSection, setup: EngineSetup) -> EmbeddingEngine:
        """An encoder in this process."""
        from eibench_ray.engines.embedding.embedding_engine import EmbeddingEngine

        return EmbeddingEngine(section, "cuda" if setup.device == "cuda" and setup.num_gpus else "cpu", setup.weights)


KIND = EmbeddingKind()

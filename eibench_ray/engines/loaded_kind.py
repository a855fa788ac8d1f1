"""Common parts of the engine kinds that load a language model's weights into a replica."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from eibench_ray.config.engine_section import identity_of
from eibench_ray.engines.chat_template_check import lacks_chat_template
from eibench_ray.engines.chat_templates import template_file
from eibench_ray.engines.engine_identity import file_digest
from eibench_ray.engines.engine_kind import EngineDescription, EngineKind
from eibench_ray.engines.loaded_section import LoadedSection, is_pinned
from eibench_ray.plan.engine_traits import EngineTraits
from eibench_ray.weights.weights_request import WeightsRequest
from eibench_ray.weights.weights_source import source_identity

L = TypeVar("L", bound=LoadedSection)


class LoadedKind(EngineKind[L]):
    """A kind whose section is a `LoadedSection`."""

    def weights(self, section: L) -> WeightsRequest:
        """The checkpoint."""
        return WeightsRequest(section.source, section.revision, runs_code=section.trust_remote_code)

    def lacks_chat_template(self, section: L, folder: Path) -> bool:
        """Whether the checkpoint surely has none, and none is configured."""
        return not (section.chat_template or section.trust_remote_code) and lacks_chat_template(folder)

    def describe(self, section: L) -> EngineDescription:
        """Its source and revision, and whether that may change."""
        return describe_source(section.kind, section.source, section.revision, section.dtype, section.chat_template)


def loaded_traits(section: LoadedSection, max_num_seqs: int, stages: int = 1) -> EngineTraits:
    """Traits of an engine that loads weights."""
    return EngineTraits(
        max_num_seqs,
        is_loaded=True,
        is_pinned=is_pinned(section.source, section.revision),
        is_language_model=True,
        stages=stages,
        thinking_tokens=section.reasoning_tokens,
        environment=section.runtime_env.to_environment() if section.runtime_env else None,
        env=section.env,
    )


def loaded_identity(section: LoadedSection) -> Mapping[str, Any]:
    """Identity of a loaded engine, whatever loads it.

    Raises:
        PlanError: the file of its chat template is not there.
    """
    found = identity_of(section)
    template, source, revision = found["chat_template"], found.pop("source"), found.pop("revision")
    del found["runtime_env"]  # its packages are, which each kind reads in its own way
    return found | {
        "weights": source_identity(source, revision),
        "chat_template": file_digest(template_file(template)) if template else None,
    }


def describe_source(
    runs_by: str, source: str, revision: str | None, dtype: str, chat_template: str | None
) -> EngineDescription:
    """Columns in tables of models of an engine that loads weights."""
    said = (revision or "-") if is_pinned(source, revision) else f"{revision or 'main'} (not pinned)"
    return EngineDescription(runs_by, source, said, dtype, chat_template or "the checkpoint's template")

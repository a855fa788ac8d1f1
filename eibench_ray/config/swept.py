"""Value overrides below a swept group: `-m dataset=a,b dataset.limit=8`."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType


def defer_to_jobs(overrides: Sequence[str]) -> list[str]:
    """The overrides of a sweep, those below a swept group as a choice of one.

    Hydra applies plain values once before it expands the sweep, when a swept group has no section yet, and fails; what
    is a choice it leaves to the jobs.

    Raises:
        OverrideParseException: an override cannot be read (Hydra's).
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    swept = {override.package or override.key_or_group for override in parsed if override.is_sweep_override()}
    return [
        _as_choice(text) if _is_plain_value(override) and _is_below(override.key_or_group, swept) else text
        for text, override in zip(overrides, parsed, strict=True)
    ]


def _is_plain_value(override: Override) -> bool:
    return override.type is not OverrideType.DEL and override.package is None and not override.is_sweep_override()


def _is_below(key: str, sections: set[str]) -> bool:
    return any(key.startswith(f"{section}.") for section in sections)


def _as_choice(text: str) -> str:
    key, _, value = text.partition("=")
    return f"{key}=choice({value})"

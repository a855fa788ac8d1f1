"""What a command line says of a sweep: lists of options (`judge=[a,b]`), and values below a swept group
(`-m dataset=a,b dataset.limit=8`).
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString

from eibench_ray.errors import ConfigError

# What a cell has one of. Hydra would merge the options of a list into one.
CELL_GROUPS = frozenset({"model", "setting", "dataset", "judge"})


def spread_lists(overrides: Sequence[str]) -> tuple[list[str], bool]:
    """The overrides with lists of options of a cell's groups as choices, and whether there are several to choose from.

    Raises:
        ConfigError: a list without an option, or with something else than names.
        OverrideParseException: an override cannot be read (Hydra's).
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    spread, has_several = [], False
    for text, override in zip(overrides, parsed, strict=True):
        options = (
            override.value() if override.key_or_group in CELL_GROUPS and not override.is_sweep_override() else None
        )
        if override.package is not None or not isinstance(options, list):
            spread.append(text)
            continue
        if not options or not all(isinstance(option, str | QuotedString) for option in options):
            raise ConfigError(f"{text}: write the names of one or more options, e.g. {override.key_or_group}=[a,b]")
        names = dict.fromkeys(str(option.text if isinstance(option, QuotedString) else option) for option in options)
        spread.append(f"{text.partition('=')[0]}={','.join(names)}")
        has_several |= len(names) > 1
    return spread, has_several


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
        _as_choice(text) if _is_plain_value(override) and _is_below(override, swept) else text
        for text, override in zip(overrides, parsed, strict=True)
    ]


def _is_plain_value(override: Override) -> bool:
    return override.type is not OverrideType.DEL and not override.is_sweep_override()


def _is_below(override: Override, sections: set[str]) -> bool:
    """Whether it writes into one of the sections: `judge.name=a` as well as `model@judge.model=a`."""
    place = override.package or override.key_or_group
    return any(place.startswith(f"{section}.") for section in sections)


def _as_choice(text: str) -> str:
    key, _, value = text.partition("=")
    return f"{key}=choice({value})"

"""The command line of a sweep: lists of options (`judge=[a,b]`), values below a varied group
(`-m dataset=a,b dataset.limit=8`), and unions of products (`hydra.sweeper.blocks`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString

from eibench_ray.errors import ConfigError

# What a cell has one of. Hydra would merge the options of a list into one.
CELL_GROUPS = frozenset({"model", "setting", "dataset", "judge"})

# An option of these groups may write to any section (`# @package _global_`).
GLOBAL_GROUPS = frozenset({"experiment"})


@lru_cache(maxsize=4096)
def section_of(override: str) -> str:
    """The section that an override writes to.

    >>> section_of("model@judge.model=a"), section_of("+setting.x=1")
    ('judge', 'setting')
    """
    key = override.lstrip("+~").split("=", 1)[0]
    return re.split(r"[./]", key.split("@", 1)[-1])[0]


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
    """The overrides of a sweep, those below a varied group as a choice of one.

    Hydra applies plain values once before it expands the sweep, when a varied group has no section yet, and fails; what
    is a choice it leaves to the jobs.

    Raises:
        OverrideParseException: an override cannot be read (Hydra's).
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    varied = {override.package or override.key_or_group for override in parsed if override.is_sweep_override()}
    return [
        _as_choice(text) if _is_plain_value(override) and _is_below(override, varied) else text
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


# Key -> overrides of it, one per value, e.g. {"model": ("model=a", "model=b")}.
Choices = Mapping[str, tuple[str, ...]]


def join_blocks(chosen: Choices, blocks: Mapping[str, Choices]) -> list[tuple[str, ...]]:
    """The jobs of all blocks in their order, each once.

    What was chosen narrows a block: of a key that the block lists, it keeps the values that were chosen. A value that
    no block lists goes into all of them.

    Raises:
        ConfigError: nothing is left of any block.
    """
    listed = {item for block in blocks.values() for items in block.values() for item in items}
    keys = dict.fromkeys([*(key for block in blocks.values() for key in block), *chosen])
    jobs: dict[tuple[str, ...], None] = {}
    for block in blocks.values():
        values = {
            key: _narrow(chosen.get(key), block.get(key), listed) for key in keys if key in chosen or key in block
        }
        jobs |= dict.fromkeys(itertools.product(*values.values()))
    if not jobs:
        said = " ".join(item for items in chosen.values() for item in items if item in listed)
        raise ConfigError(
            f"no block of hydra.sweeper.blocks ({', '.join(blocks)}) has {said} together: choose what one of them "
            f"lists, or leave the experiment out and sweep with -m"
        )
    return list(jobs)


def _narrow(chosen: tuple[str, ...] | None, own: tuple[str, ...] | None, listed: set[str]) -> tuple[str, ...]:
    """The values of one key in one block."""
    if chosen is None or own is None:
        return chosen or own or ()
    return tuple(item for item in chosen if item in own or item not in listed)

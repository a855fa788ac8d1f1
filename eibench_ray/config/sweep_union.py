"""A sweep that is a union of products: blocks of choices, and what `params` and the command line choose for all."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from eibench_ray.errors import ConfigError

# Key -> overrides of it, one per value, e.g. {"model": ("model=a", "model=b")}.
Choices = Mapping[str, tuple[str, ...]]


def join_blocks(chosen: Choices, blocks: Mapping[str, Choices]) -> list[tuple[str, ...]]:
    """The jobs of all blocks in their order, each once.

    What was chosen narrows a block: of a key that the block lists, it keeps the values that were chosen. A value that
    no block lists goes into all of them.

    Args:
        chosen: what `params` and the command line choose.
        blocks: by name.

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

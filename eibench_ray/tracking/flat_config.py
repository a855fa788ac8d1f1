"""A configuration as one value per dotted key, for trackers that keep no tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Leaf = str | float | bool


def flatten(config: Any, key: str = "") -> Iterator[tuple[str, Leaf]]:
    """The values of a configuration with their keys, e.g. `setting.calls.0.prompt`; those that are null are left out.

    >>> list(flatten({"model": {"name": "tiny", "stop": ["a", "b"]}, "asker": None}))
    [('model.name', 'tiny'), ('model.stop.0', 'a'), ('model.stop.1', 'b')]
    """
    if isinstance(config, dict):
        for name, value in config.items():
            yield from flatten(value, f"{key}.{name}" if key else str(name))
    elif isinstance(config, list | tuple):
        yield from flatten(dict(enumerate(config)), key)
    elif config is not None:
        yield key, config if isinstance(config, str | float | int) else str(config)

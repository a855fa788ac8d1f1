"""Benchmarks by name, and what all of them bring together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from eibench_ray.benchmarks.benchmark import Benchmark
from eibench_ray.errors import ConfigError
from eibench_ray.plugins import PluginGroup

log = logging.getLogger(__name__)

BENCHMARKS = PluginGroup(
    entry_points="eibench_ray.benchmarks",
    builtin={"eibench": "eibench_ray.benchmarks.eibench.eibench_benchmark:BENCHMARK"},
    what="benchmark",
)


def gather(read: Callable[[Benchmark], Mapping[str, Any]], what: str) -> dict[str, Any]:
    """One part of all benchmarks, by name.

    Args:
        read: takes the part of one.
        what: one of the part's entries in a word, for messages.

    Raises:
        ConfigError: two benchmarks have one name for two things.
    """
    found: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for name, benchmark in load_all().items():
        for key, value in read(benchmark).items():
            if key in owners:
                raise ConfigError(
                    f"the {what} {key!r} is brought by the benchmarks {owners[key]!r} and {name!r}, and one name has "
                    f"one meaning: uninstall one of them, or have it renamed"
                )
            owners[key], found[key] = name, value
    return found


def load_all() -> dict[str, Benchmark]:
    """All benchmarks that can be loaded; of the others a line is told."""
    found = {}
    for name in BENCHMARKS.names():
        try:
            found[name] = BENCHMARKS.find(name, Benchmark)
        except ConfigError as error:
            log.warning("%s", error)
    return found

"""Option files start no programs: Hydra would call whatever a `_target_` or a logging handler's class names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from eibench_ray.errors import ConfigError

_TARGET = "_target_"
_TARGETS = frozenset(
    {
        "hydra_plugins.eibench_ray_launcher.launcher.PlanLauncher",
        "hydra_plugins.eibench_ray_launcher.sweeper.PlanSweeper",
    }
)
# What logging.config calls: classes of the standard library's, and the one of Hydra's own option `colorlog`.
_LOGGING = ("hydra.job_logging", "hydra.hydra_logging")
_CLASS = re.compile(r"logging\.(?:handlers\.)?[A-Z]\w*|colorlog\.ColoredFormatter")
_STREAM = re.compile(r"ext://sys\.std(?:out|err)")


def refuse_programs(config: DictConfig) -> None:
    """Refuses a configuration that would have Hydra call something.

    Raises:
        ConfigError: with the key, and what it names.
    """
    for key, name, value in _entries(OmegaConf.to_container(config, resolve=False), ""):
        if name == _TARGET and value not in _TARGETS:
            _refuse(f"{key}.{name}".lstrip("."), value)
        if key.startswith(_LOGGING):
            if name in ("class", "()") and not _CLASS.fullmatch(str(value)):
                _refuse(f"{key}.{name}", value)
            if isinstance(value, str) and value.startswith(("ext://", "cfg://")) and not _STREAM.fullmatch(value):
                _refuse(f"{key}.{name}", value)


def _refuse(key: str, value: object) -> None:
    raise ConfigError(
        f"{key} is {str(value)[:100]!r}: an option file may not start programs of its own: take it out; what a job "
        f"runs before a sweep is cluster.slurm.setup"
    )


def _entries(value: Any, key: str) -> Iterator[tuple[str, str, object]]:
    """Every entry of every mapping: the mapping's key, the entry's name, its value."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield key, str(name), inner
            yield from _entries(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _entries(inner, key)

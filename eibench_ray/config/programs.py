"""Option files start no programs: Hydra would call whatever a `_target_` or a logging handler's class names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from eibench_ray.config.secrets import leaves_of
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


def refuse_programs(config: Mapping[str, Any]) -> None:
    """Refuses a configuration, as plain values, that would have Hydra call something.

    Raises:
        ConfigError: with the key, and what it names.
    """
    for key, value in leaves_of(config, ""):
        names = key.split(".")
        if _TARGET in names and value not in _TARGETS:
            _refuse(key, value)
        if key.startswith(_LOGGING):
            if names[-1] in ("class", "()") and not _CLASS.fullmatch(str(value)):
                _refuse(key, value)
            if isinstance(value, str) and value.startswith(("ext://", "cfg://")) and not _STREAM.fullmatch(value):
                _refuse(key, value)


def _refuse(key: str, value: object) -> None:
    raise ConfigError(
        f"{key} is {str(value)[:100]!r}: an option file may not start programs of its own: take it out; what a job "
        f"runs before a sweep is cluster.slurm.setup"
    )

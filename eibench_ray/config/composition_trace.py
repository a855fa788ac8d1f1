"""Which option file a failed composition was about, read from where Hydra stood: its errors do not say."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

_MAX_FILES = 8


def find_file(error: BaseException, key: str) -> str | None:
    """The path of the option file that a key of the configuration belongs to; None where that is not known."""
    for frame in _frames(error, "_load_configuration_impl"):
        defaults, repository = frame.f_locals.get("defaults_list"), frame.f_locals.get("caching_repo")
        if defaults is None or repository is None:
            continue
        own = [
            (len(one.package or ""), number, one.config_path)
            for number, one in enumerate(defaults.defaults)
            if one.package and f"{key}.".startswith(f"{one.package}.")
        ]
        return _locate(repository, max(own)[2]) if own else None
    return None


def find_cycle(error: BaseException) -> str | None:
    """The option files whose defaults lead back to themselves, with a path; None where there are none."""
    steps = [
        (frame.f_locals["root"].node.get_config_path(), frame.f_locals["repo"])
        for frame in _frames(error, "_create_defaults_tree_impl")
        if "root" in frame.f_locals and "repo" in frame.f_locals
    ]
    names = [name for name, _ in steps]
    if not names or (last := names[-1]) not in names[:-1]:
        return None
    cycle = names[len(names) - 2 - names[:-1][::-1].index(last) :]
    shown = " > ".join(cycle if len(cycle) <= _MAX_FILES else [*cycle[:_MAX_FILES], "..."])
    return f"{shown} ({_locate(steps[-1][1], last)})"


def _frames(error: BaseException | None, function: str) -> Iterator[FrameType]:
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_name == function:
                yield frame
        error = error.__cause__ or error.__context__


def _locate(repository: Any, config_path: str) -> str:
    for source in repository.get_sources():
        if source.is_config(config_path):
            return f"{source.path.rstrip('/')}/{config_path}.yaml"
    return config_path

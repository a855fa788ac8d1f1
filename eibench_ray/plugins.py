"""Plug-ins by name: this package's own from a table, others from the entry points of installed packages.

    KINDS = PluginGroup("eibench_ray.engines", {"echo": "eibench_ray.engines.echo:KIND"}, "engine kind")
    kind = KINDS.find("echo", EngineKind)

A plug-in is imported when it is asked for, and at no other time: to list their names imports none.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions
from typing import TypeVar, overload

from eibench_ray.errors import ConfigError

T = TypeVar("T")
_OURS = "eibench_ray."


@dataclass(frozen=True, eq=False)
class PluginGroup:
    """The plug-ins of one sort.

    Attributes:
        entry_points: the group of entry points by which installed packages bring theirs; it begins with `eibench_ray.`.
    """

    entry_points: str
    builtin: Mapping[str, str]  # those of this package: name -> `module:attribute`
    what: str  # one of them in a word or two, for messages: `engine kind`

    def names(self) -> list[str]:
        """The names of all that can be found, sorted."""
        return sorted({*self.builtin, *(point.name for point in _entry_points(self.entry_points))})

    @overload
    def find(self, name: str) -> object: ...
    @overload
    def find(self, name: str, expected: type[T]) -> T: ...
    def find(self, name: str, expected: type[object] = object) -> object:
        """The plug-in of that name, imported.

        Args:
            name: as users write it.
            expected: what it has to be an instance of; `type` where plug-ins are classes.

        Raises:
            ConfigError: there is none of that name, or several; it cannot be imported; it is something else.
        """
        point, found = _load(self, name, tuple(sys.path))
        if not isinstance(found, expected):
            raise ConfigError(
                f"the {self.what} {name!r} cannot be used: {point.value} of {_package(point)} is of the type "
                f"{type(found).__name__}, and {expected.__name__} is needed; repair or uninstall that package"
            )
        return found

    def _point(self, name: str) -> EntryPoint:
        found = [point for point in _entry_points(self.entry_points) if point.name == name]
        if name in self.builtin:
            found.insert(0, EntryPoint(name, self.builtin[name], self.entry_points))
        if not found:
            raise ConfigError(self._unknown(name))
        if len(found) > 1:
            raise ConfigError(
                f"the {self.what} {name!r} is brought by {' and by '.join(map(_package, found))}, and one name has one "
                f"meaning: uninstall all but one, or have it renamed in the others' entry points"
            )
        return found[0]

    def _unknown(self, name: str) -> str:
        names = self.names()
        near = get_close_matches(name, names, n=1)
        return (
            f"there is no {self.what} {name!r}{f': {near[0]!r} is near' if near else ''}; there are "
            f"{', '.join(names) or 'none'}, and an installed package adds others (entry points {self.entry_points})"
        )


@lru_cache(maxsize=256)
def _load(group: PluginGroup, name: str, path: tuple[str, ...]) -> tuple[EntryPoint, object]:  # noqa: ARG001
    # A sweep of 132 cells asks for its kinds and scorers 1,700 times. What is found depends on the path.
    point = group._point(name)
    try:
        return point, point.load()
    except Exception as error:
        if point.dist is None:
            raise
        raise ConfigError(
            f"the {group.what} {name!r} cannot be loaded: {point.value} of {_package(point)} ended in "
            f"{type(error).__name__}: {error}; repair or uninstall that package"
        ) from error


def _entry_points(group: str) -> list[EntryPoint]:
    return [point for point in _scan(tuple(sys.path)) if point.group == group]


@lru_cache(maxsize=4)
def _scan(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:  # noqa: ARG001 - what is found depends on it
    # Once per process, and only our groups: entry_points() reads the metadata of each package, which takes five times
    # as long. Where a package lies on the path twice, the first is the one that Python imports.
    found: dict[str, list[EntryPoint]] = {}
    for package in distributions():
        if points := [point for point in package.entry_points if point.group.startswith(_OURS)]:
            found.setdefault(package.name, points)
    return tuple(point for _, points in sorted(found.items()) for point in points)


def _package(point: EntryPoint) -> str:
    return f"the package {point.dist.name} {point.dist.version}" if point.dist is not None else "eibench_ray itself"

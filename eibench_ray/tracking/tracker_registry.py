"""Trackers by the names under which they stand in `tracking`: built-in ones, and those of installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from eibench_ray.config.section import read_options
from eibench_ray.config.tracking_section import TRACKERS, TrackingConfig
from eibench_ray.errors import ConfigError
from eibench_ray.tracking.open_tracker import NoTracker, OpenTracker
from eibench_ray.tracking.tracker import Tracker
from eibench_ray.tracking.tracking_queue import TrackingQueue


def find_trackers(config: TrackingConfig) -> dict[str, Tracker]:
    """The trackers that a configuration names, with their options.

    Raises:
        ConfigError: there is no such tracker, it cannot be used, or its package is not installed.
    """
    return {name: _find(name, options) for name, options in config.trackers.items()}


def _find(name: str, options: object) -> Tracker:
    found = TRACKERS.find(name, type)
    if not issubclass(found, Tracker):
        raise ConfigError(f"the tracker {name!r} is no subclass of {Tracker.__module__}.Tracker: derive it")
    if found.module is not None and find_spec(found.module) is None:
        raise ConfigError(
            f"tracking={name} needs the package {found.module}, which is not installed here: "
            f"pip install 'eibench-ray[{found.extra}]', or choose another tracker, or tracking=none"
        )
    return read_options(found, options)


def open_tracker(tracker: Tracker, folder: Path, environ: Mapping[str, str]) -> OpenTracker:
    """A tracker at work, on a thread of its own.

    Raises:
        ConfigError: what the tracker needs is missing, such as a key.
    """
    target = tracker.target(environ)
    if target.mode == "disabled":
        return NoTracker(target.reason or "tracking is disabled", tracker.title)
    return TrackingQueue(tracker, folder, target, tracker.secret(environ))


def open_trackers(kinds: Mapping[str, Tracker], folder: Path, environ: Mapping[str, str]) -> dict[str, OpenTracker]:
    """Several trackers at work, by their names.

    Raises:
        ConfigError: what one of them needs is missing; then none has begun.
    """
    for kind in kinds.values():
        kind.target(environ)
        kind.secret(environ)
    return {name: open_tracker(kind, folder, environ) for name, kind in kinds.items()}

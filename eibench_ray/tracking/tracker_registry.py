"""Trackers by the names that `tracking.kind` may have: built-in ones, and those of installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eibench_ray.config.section import read_options
from eibench_ray.config.tracking_section import TRACKERS, TrackingConfig
from eibench_ray.errors import ConfigError
from eibench_ray.tracking.tracker import Tracker
from eibench_ray.tracking.tracking_queue import CellTracker, NoTracker, TrackingQueue


def find_tracker(config: TrackingConfig) -> Tracker | None:
    """The tracker that a configuration names, with its options; None where nothing is tracked.

    Raises:
        ConfigError: there is no such tracker, or it cannot be used.
    """
    if not config.is_on:
        return None
    found = TRACKERS.find(config.kind, type)
    if not issubclass(found, Tracker):
        raise ConfigError(f"the tracker {config.kind!r} is no subclass of {Tracker.__module__}.Tracker: derive it")
    return read_options(found, config.options)


def open_tracker(tracker: Tracker | None, folder: Path, environ: Mapping[str, str]) -> CellTracker:
    """A tracker at work, on a thread of its own.

    Raises:
        ConfigError: what the tracker needs is missing, such as a key.
    """
    if tracker is None:
        return NoTracker()
    target = tracker.target(environ)
    if target.mode == "disabled":
        return NoTracker(target.reason or "tracking is disabled", tracker.title)
    return TrackingQueue(tracker, folder, target, tracker.secret(environ))

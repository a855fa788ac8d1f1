"""TensorBoard: the folder that it reads. Its package is imported when a run is opened, TensorFlow never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.config.section import PathText
from eibench_ray.tracking.tracker import RunFacts, Target, TrackedRun, Tracker, TrackingPlace


@dataclass(frozen=True, slots=True)
class TensorboardTracker(Tracker):
    """A folder of event files for the sweep, and one for each cell.

    Attributes:
        log_dir: for `tensorboard --logdir`; a relative one lies where the command was called.
    """

    log_dir: PathText = "tensorboard"

    title = "TensorBoard"
    module = "tensorboard"
    extra = "tensorboard"

    def target(self, environ: Mapping[str, str]) -> Target:  # noqa: ARG002
        """The folder."""
        return Target("online", str(Path(self.log_dir).absolute()))

    def open(self, facts: RunFacts, place: TrackingPlace) -> TrackedRun:
        """A folder's event file."""
        from eibench_ray.tracking.tensorboard.event_files import EventFileRun

        return EventFileRun(facts, Path(place.target.server))

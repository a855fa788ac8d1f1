"""Trackers: where a sweep's progress and scores are shown, one tracked run per cell, grouped by sweep.

    @dataclass(frozen=True, slots=True)
    class LinesTracker(Tracker):
        path: str
        title = "a file"

        def target(self, environ: Mapping[str, str]) -> Target:
            return Target("online", self.path)

        def open(self, cell: TrackedCell, place: TrackingPlace) -> TrackedRun:
            return LinesRun(self.path, cell)

Its fields are its options: `tracking: {kind: lines, path: figures.jsonl}`. A tracker blocks and raises as it likes: it
is called on a thread of the core's, which queues what is told, hides the secret in what went wrong, gives up at a
deadline, and keeps in the store what has arrived where.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

Mode = Literal["online", "offline"]


@dataclass(frozen=True, slots=True)
class TrackedCell:
    """One cell as its tracker sees it."""

    key: str  # hex digest, the same for the same cell of the same sweep; the id of the tracked run derives from it
    sweep: str  # the group of the run
    name: str  # model/setting/dataset/judge
    config: Mapping[str, Any]  # JSON-able, free of secrets
    num_rows: int  # rows that the cell has in all


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a cell."""

    rows_done: int
    rows_total: int
    tokens: int
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One row of the table of samples."""

    sample_id: str
    values: Mapping[str, str | float | None]  # column -> text or figure; the same columns in each row
    images: tuple[bytes, ...]  # the sample's pictures, in order, as they are stored


@dataclass(frozen=True, slots=True)
class Target:
    """The place that a tracker sends to.

    Attributes:
        mode: `offline` leaves what was told in the run's folder; `disabled` tells nobody.
    """

    mode: Literal["online", "offline", "disabled"]
    server: str  # an address, a path or another name, by which one server is told from another
    project: str = ""  # the place on the server, with its owner if it has one
    reason: str | None = None  # why it is not online

    def __str__(self) -> str:
        """The server and the project."""
        return f"{self.server}, project {self.project}" if self.project else self.server


@dataclass(frozen=True, slots=True)
class TrackingPlace:
    """Facts with which a tracked run is opened."""

    folder: Path  # of the sweep's run, where the tracker may write
    target: Target  # what the configuration asks for
    mode: Mode  # how this run is kept: offline, too, where the server did not take it
    secret: str | None  # what `Tracker.secret` found


@dataclass(frozen=True, slots=True)
class Delivery:
    """A cell's final figures at the place where they arrived."""

    mode: Mode
    run_id: str  # of the tracked run
    url: str | None = None  # the run's page; None where it has none
    folder: str | None = None  # the offline run's folder; None online


class TrackedRun(ABC):
    """The tracked run of one cell."""

    def log(self, progress: Progress) -> None:  # noqa: B027 - for those that keep a history
        """Adds a point to its history."""

    @abstractmethod
    def finish(self, cell: TrackedCell, scores: Mapping[str, float | int], samples: Sequence[SampleRow]) -> Delivery:
        """Ends the run with a cell's scores and samples, and returns once all of it has arrived.

        Args:
            cell: its name may have other marks than when the run was opened.
            scores: name -> figure; those that do not exist are left out.
            samples: some rows for a table.
        """

    def fail(self) -> None:  # noqa: B027 - for those that mark it
        """Ends the run of a cell that was not finished."""


class Tracker(ABC):
    """A tracker; subclasses are frozen dataclasses whose fields are the options of `tracking`.

    All is called from one thread, but for `stop` and `describe_trouble`.
    """

    __slots__ = ()

    title: ClassVar[str] = "the tracker"  # what messages call it
    has_offline: ClassVar[bool] = False  # whether it can keep in the run's folder what its server did not take

    @abstractmethod
    def target(self, environ: Mapping[str, str]) -> Target:
        """The place that it sends to.

        Raises:
            ConfigError: something is missing, such as a key.
        """

    @abstractmethod
    def open(self, cell: TrackedCell, place: TrackingPlace) -> TrackedRun:
        """The tracked run of a cell, resumed where an earlier run of the sweep has begun it."""

    def online(self) -> Tracker:
        """The same, told to send now: `eibench-ray track` asks for it."""
        return self

    def secret(self, environ: Mapping[str, str]) -> str | None:  # noqa: ARG002 - for those that have one
        """The key, which is shown nowhere; None where there is none."""
        return None

    def session(self, folder: Path) -> AbstractContextManager[None]:  # noqa: ARG002
        """Context from before the first run is opened until after the last has ended."""
        return contextlib.nullcontext()

    def reset(self) -> None:  # noqa: B027 - for those with a service
        """Lets go of all runs after a failure; what comes next opens them anew."""

    def stop(self) -> None:  # noqa: B027
        """Makes a call that hangs end, from another thread."""

    def describe_trouble(self, folder: Path, runs: Sequence[TrackedRun]) -> str | None:  # noqa: ARG002
        """Troubles of those runs that did not end them; None: nothing. From another thread."""
        return None

    def clean(self, folder: Path, *, is_all_sent: bool) -> None:  # noqa: B027
        """Removes from the run's folder what nobody reads again."""

    def was_synced(self, folder: Path) -> bool:  # noqa: ARG002
        """Whether an offline run has been sent since, by the tracker's own command."""
        return False


@dataclass(slots=True)
class TrackingReport:
    """Deliveries of a tracker, of the final figures that it was told.

    Attributes:
        reason: why cells are offline or missing, as the server or the system said it; None where all were sent.
    """

    title: str = Tracker.title  # of the tracker
    sent: dict[str, str | None] = field(default_factory=dict)  # cell name -> the tracked run's page
    offline: dict[str, str | None] = field(default_factory=dict)  # cell name -> the offline run's folder
    missing: dict[str, str] = field(default_factory=dict)  # cell name -> why its figures are nowhere
    reason: str | None = None

    def note(self, cell: TrackedCell, delivery: Delivery) -> None:
        """Enters a delivery."""
        if delivery.mode == "online":
            self.sent[cell.name] = delivery.url
        else:
            self.offline[cell.name] = delivery.folder

    def describe(self, run: Path) -> str | None:
        """One paragraph about what was not sent, and how to send it; None where nothing is left to send."""
        num_left = len(self.offline) + len(self.missing)
        if not num_left:
            return None
        where = [f"{len(self.offline)} in offline folders below {run}"] if self.offline else []
        where += [f"{len(self.missing)} nowhere ({_shorten(sorted(self.missing))})"] if self.missing else []
        return (
            f"Tracking: the final figures of {num_left} of {num_left + len(self.sent)} cells are not at {self.title}: "
            f"{', '.join(where)}. Reason: {self.reason or 'unknown'}. "
            f"`eibench-ray track {run}` sends them, and so does the next run of this sweep that reaches {self.title}."
        )


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

"""Trackers: where a sweep's progress and scores are shown, a tracked run per cell and one for the sweep.

    @dataclass(frozen=True, slots=True)
    class LinesTracker(Tracker):
        path: str
        title = "a file"

        def target(self, environ: Mapping[str, str]) -> Target:
            return Target("online", self.path)

        def open(self, facts: RunFacts, place: TrackingPlace) -> TrackedRun:
            return LinesRun(self.path)

Its fields are its options: `tracking: {lines: {path: figures.jsonl}}`. A tracker blocks and raises as it likes: it is
called on a thread of its own, which queues what is told, hides the secret in what went wrong, gives up at a deadline,
and keeps in the store what has arrived where.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from eibench_ray.errors import ConfigError

Mode = Literal["online", "offline"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts about a tracked run: whose it is, and what it is called.

    Attributes:
        key: hex digest, the same for the same cell, or the same cells, of the same sweep; the id derives from it.
        parent: the key of the sweep's tracked run; None: this is that one.
    """

    key: str
    sweep: str  # the group of the run
    name: str  # of a cell model/setting/dataset/judge, of the sweep its own
    config: Mapping[str, Any]  # JSON-able, free of secrets
    num_rows: int  # rows that it has in all
    parent: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def job(self) -> Literal["sweep", "cell"]:
        """The sort of tracked run."""
        return "sweep" if self.parent is None else "cell"


@dataclass(frozen=True, slots=True)
class Progress:
    """A point in the history of a tracked run."""

    rows_done: int  # its step: it does not fall, in a resumed run either
    rows_total: int
    figures: Mapping[str, float | int] = field(default_factory=dict)

    @property
    def all_figures(self) -> dict[str, float | int]:
        """The figures, the rows included."""
        return {"rows_done": self.rows_done, "rows_total": self.rows_total, **self.figures}


@dataclass(frozen=True, slots=True)
class TrackedTable:
    """A table to be looked at."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[str | float | bool | bytes | None]]  # bytes: a picture, as it is stored


@dataclass(frozen=True, slots=True)
class Final:
    """The final figures of a tracked run."""

    scores: Mapping[str, float | int]  # those that do not exist are left out
    tables: Mapping[str, TrackedTable] = field(default_factory=dict)  # by name; none is empty
    files: tuple[Path, ...] = ()  # to be kept along
    addresses: Mapping[str, str] = field(default_factory=dict)  # of what stays where it is: name -> its place


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
    """Final figures at the place where they arrived."""

    mode: Mode
    run_id: str  # of the tracked run
    url: str | None = None  # the run's page; None where it has none
    folder: str | None = None  # the offline run's folder; None online


class TrackedRun(ABC):
    """The tracked run of one cell, or of the sweep."""

    def log(self, progress: Progress) -> None:  # noqa: B027 - for those that keep a history
        """Adds a point to its history."""

    @abstractmethod
    def finish(self, facts: RunFacts, final: Final) -> Delivery:
        """Ends the run with its final figures, and returns once all of them have arrived.

        Args:
            facts: its name may have other marks than when the run was opened.
            final: the figures.
        """

    def fail(self) -> None:  # noqa: B027 - for those that mark it
        """Ends a run that has no final figures."""


class Tracker(ABC):
    """A tracker; subclasses are frozen dataclasses whose fields are its options.

    All is called from one thread, but for `stop` and `describe_trouble`.
    """

    __slots__ = ()

    title: ClassVar[str] = "the tracker"  # what messages call it
    has_offline: ClassVar[bool] = False  # whether it can keep in the run's folder what its server did not take
    module: ClassVar[str | None] = None  # what it imports of a package that may not be installed
    extra: ClassVar[str] = ""  # the extra of this package that brings it

    @abstractmethod
    def target(self, environ: Mapping[str, str]) -> Target:
        """The place that it sends to.

        Raises:
            ConfigError: something is missing, such as a key.
        """

    @abstractmethod
    def open(self, facts: RunFacts, place: TrackingPlace) -> TrackedRun:
        """A tracked run, resumed where an earlier run of the sweep has begun it."""

    def online(self) -> Tracker:
        """The same, told to send now: `eibench-ray track` asks for it."""
        return self

    def dashboard(self, environ: Mapping[str, str], *, is_dry: bool) -> str:  # noqa: ARG002 - for those that have some
        """Address of a dashboard over the project's tracked runs, made now; in a dry run what would be made, as JSON.

        Raises:
            ConfigError: it has none that code can make, or what that needs is missing.
        """
        raise ConfigError(f"{self.title} has no dashboards that a command makes: leave out --dashboard")

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

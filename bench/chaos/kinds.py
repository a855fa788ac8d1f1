"""Kinds of faults: when one may come, what it needs, what it does, and how it is known to have hit."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import ClassVar, TypeVar

from bench.chaos.cluster import RayCluster
from bench.chaos.remains import Family
from bench.chaos.sweep import Run, Sweep

T = TypeVar("T")

# How long a fault waits for something that it can hit, while the command runs.
TARGET_TIMEOUT_S = 60.0
# How long the command may take to end after what ends it: longer than any deadline of its own.
END_TIMEOUT_S = 180.0


class Moment(StrEnum):
    """When a fault may come."""

    DURING = "during"  # while the command runs, which goes on
    ENDING = "ending"  # it ends the command
    BETWEEN = "between"  # while no command runs


class Place(ABC):
    """Places where a store may lie.

    Attributes:
        root: `store.root`.
        environment: what the command and the cluster have to know of it.
    """

    root: str

    @abstractmethod
    def count_slices(self) -> int:
        """Committed slices of all steps."""

    @abstractmethod
    def fetch(self, folder: Path) -> Path:
        """The store's root as a folder of this machine, which is made in `folder` where it is none."""


@dataclass(slots=True)
class Scene:
    """Surroundings that faults act on.

    Attributes:
        run: the command, while it runs and after it has ended.
        clock_s: by how much the clock of the next command is shifted.
        hangs: what did not end in time.
    """

    family: Family
    cluster: RayCluster
    sweep: Sweep
    place: Place
    random: Random
    run: Run | None = None
    clock_s: float = 0.0
    hangs: list[str] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        """Whether the command runs."""
        return self.run is not None and self.run.code is None

    @property
    def run_name(self) -> str:
        """The name of the command's folder."""
        return self.run.folder.name if self.run else ""

    def pick(self, find: Callable[[], Sequence[T]]) -> T | None:
        """One of what is found, as soon as there is something; None where the command ends before."""
        deadline = time.monotonic() + TARGET_TIMEOUT_S
        while self.is_running and time.monotonic() < deadline:
            if found := find():
                return self.random.choice(found)
            time.sleep(0.2)
        return None

    def await_end(self, after: str) -> int:
        """The command's exit code, which has to come; it is killed where it does not."""
        assert self.run is not None
        code = self.run.wait(END_TIMEOUT_S)
        if code is None:
            self.hangs.append(f"{self.run.folder.name} still ran {END_TIMEOUT_S:g} s after {after}")
            self.run.end()
            code = self.run.process.returncode
        return code


class Kind(ABC):
    """A kind of fault."""

    name: ClassVar[str]
    moment: ClassVar[Moment]

    @abstractmethod
    def inject(self, scene: Scene) -> bool | None:
        """Whether it hit something, as one that did not counts for nothing; None where `settle` will know."""

    def settle(self, scene: Scene) -> bool | None:  # noqa: ARG002
        """Whether it has hit; None while that is open. Asked again and again, for the last time after the end."""
        return None

    def confirm(self, scene: Scene) -> bool:  # noqa: ARG002
        """For what comes between two commands: whether the next one, which works by now, was hit."""
        return True

"""Events of a run: the ledger's lines and the numbers behind the progress display.

Each line of a ledger has `time` (seconds: Unix time, in a simulation its own clock), `event`, and what belongs to it:

    run_started          the driver meets the cluster
    node_joined          node (its id), name, cpus, gpus
    node_left            node
    replica_starting     replica (its number), engine (its key), model, nodes (ids), gpus: it holds so many from now on
    replica_placed       replica, engine: what it holds is really there
    replica_ready        replica, engine, model, node (an address), load_s, capacity, fingerprint
    slice_sent           replica, step, slice, rows
    slice_committed      replica, step, slice, new, kept, errors, absent, completion_tokens, cost_usd, seconds
    slice_interrupted    the same: the rest of its rows is given up
    poison_search_begun  replica, step, slice: replicas keep dying with it; from now on it is asked alone, and in parts
    slice_probed         as slice_committed, and rows, is_control: a part of it was asked, and nothing died
    row_quarantined      replica, step, slice, sample: its engine dies of it; the row says how often, and what of
    slice_returned       replica, step, slice: the replica was lost under it
    replica_lost         replica, engine, model, reason: it died, did not start, or got no place
    replica_stopping     replica, engine: it is told to end
    replica_stopped      replica, engine: what it held is free again, after either
    replica_log          replica, engine, path: where the last lines are kept that a lost one wrote
    deadline             what (was waited for), waited_s, did (what was done then); replica, engine where it is one's
    engine_failed        engine, model, reason: it is never started again
    budget_spent         reason: engines that cost money are given no further slice
    gpus_released        gpus: none of these is held or needed any more, while something is left that needs none
    interrupted          reason (stop, preemption, walltime, hand_over): the run ends before all is asked
    run_ended            nothing of it is left on the cluster
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from eibench_ray.estimate.time_range import Range
from eibench_ray.rows.wait import Wait
from eibench_ray.storage.atomic_files import cannot_write
from eibench_ray.worker.gpu_meter import GpuUse


@dataclass(frozen=True, slots=True)
class EngineProgress:
    """The replicas of one engine at one moment, by what they do, and what is left of those before.

    Attributes:
        placing: replicas that wait for their resources.
        generating, judging: replicas with slices; of both kinds, the one with more rows counts.
        idle: replicas that are ready and have no slice.
        lost: replicas that died, did not start or got no place, since the run began.
        tokens: generated in this run, by replicas that are gone, too.
        tokens_per_s: in the last half minute; None: not known yet.
        failed: why the engine was given up; empty where it was not.
    """

    placing: int = 0
    loading: int = 0
    generating: int = 0
    judging: int = 0
    idle: int = 0
    lost: int = 0
    tokens: int = 0
    tokens_per_s: float | None = None
    failed: str = ""

    @property
    def starting(self) -> int:
        """Replicas that cannot be asked yet."""
        return self.placing + self.loading

    @property
    def ready(self) -> int:
        """Replicas that can be asked."""
        return self.generating + self.judging + self.idle


@dataclass(frozen=True, slots=True)
class StepSpend:
    """Answers of one step that this run has committed, their tokens, and the cost of all its requests."""

    completion_tokens: int = 0
    cost_usd: float = 0.0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Progress of a run at one moment."""

    done: Mapping[str, int]  # rows done by step id, those that the store had included
    absent: Mapping[str, int]  # those of them about which there was nothing to ask
    engines: Mapping[str, EngineProgress]  # by key; those that have had a replica, or were given up
    rows_in_flight: int  # finished rows of slices that are not committed yet
    tokens: int  # tokens generated in this run
    cost_usd: float  # what this run's requests have cost so far
    waits: tuple[Wait, ...] = ()  # what the run waits for, the longest wait first; `str` of one is a line for people
    errors: Mapping[str, int] = field(default_factory=dict)  # by step id, error rows of the slices that have come back
    asking: Mapping[str, int] = field(default_factory=dict)  # rows by step id of the slices that replicas have
    rows_per_s: float | None = None  # in the last half minute; None: not known yet
    left_s: Range | None = None  # seconds until all is asked, as the scheduler expects; None: not known
    spent: Mapping[str, StepSpend] = field(default_factory=dict)  # by step id
    gpus: Mapping[str, tuple[GpuUse, ...]] = field(default_factory=dict)  # by engine, those that can be looked at


class Listener(Protocol):
    """Receiver of a run's progress."""

    def update(self, snapshot: Snapshot) -> None:
        """Called about once a second, and when the run ends."""


class Ledger:
    """One JSON line per change of state, appended to `ledger.jsonl`, which the first one makes."""

    def __init__(self, path: Path, tell: Callable[[str, Mapping[str, Any]], object] | None = None) -> None:
        self._path = path
        self._tell = tell
        self._file: TextIO | None = None

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self._path.parent

    def write(self, event: str, **fields: Any) -> None:
        """Appends one event with its Unix time, seconds.

        Raises:
            StoreError: the disk is full.
        """
        try:
            if self._file is None:
                self._file = self._path.open("a", encoding="utf-8", buffering=1)
            self._file.write(json.dumps({"time": round(time.time(), 3), "event": event, **fields}) + "\n")
        except OSError as error:
            raise cannot_write(self._path, error) from error
        if self._tell is not None:
            self._tell(event, fields)

    def close(self) -> None:
        """Closes the file; what a full disk did not take is lost."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()

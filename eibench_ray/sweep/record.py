"""The record of a run: what it planned, in the store; where it stands and what came out, in its folder."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from eibench_ray import __version__
from eibench_ray.config.schema import ScoreConfig, StoreConfig, TrackingConfig
from eibench_ray.errors import StoreError
from eibench_ray.plan.graph import Plan
from eibench_ray.records import Retry
from eibench_ray.store.files import read_json, write_json
from eibench_ray.store.slices import Store
from eibench_ray.submit.sbatch import job_of

RUN_FILE = "run.json"
LEDGER_FILE = "ledger.jsonl"

RunState = Literal["running", "finished", "interrupted", "preempted", "failed", "budget_spent"]


@dataclass(frozen=True, slots=True)
class RunManifest:
    """What a run set out to do; written once, into the store, so that scores need no configuration.

    Attributes:
        folder: the run's folder.
        started_at: Unix time, seconds.
        retry: which error rows of earlier runs it asked again.
        tracking: where its cells are tracked; None in the record of a version that did not write it down.
    """

    id: str
    version: str
    folder: str
    started_at: float
    plan: Plan
    store: StoreConfig
    score: ScoreConfig
    retry: Retry = "errors"
    tracking: TrackingConfig | None = None


@dataclass(slots=True)
class RunStatus:
    """Where a run stands; rewritten as it goes on, in its folder.

    Attributes:
        pid: the driver's process, on `host`.
        done: rows done by step id.
        summary: the run's answer for programs, once it has ended.
        failures: model -> why its engine was given up.
        cost_usd: what this run's requests have cost.
        shortage: where the budget ended the run, how it stands and what to do.
        failed_cells: cell -> why it has no figure.
        slurm_job: the job of SLURM's that the run is in, as squeue names it.
        waits: what it waits for, a line each.
    """

    id: str
    store: str
    state: RunState
    host: str
    pid: int
    updated_at: float
    done: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    budget_usd: float | None = None
    cost_usd: float = 0.0
    shortage: str | None = None
    summary: dict[str, Any] | None = None
    slurm_job: str | None = None
    waits: list[str] = field(default_factory=list)
    failed_cells: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes `run.json` into the run's folder."""
        self.updated_at = time.time()
        write_json(folder / RUN_FILE, asdict(self))


_MANIFEST = TypeAdapter(RunManifest)
_STATUS = TypeAdapter(RunStatus)


def new_manifest(
    plan: Plan,
    folder: Path,
    store: StoreConfig,
    score: ScoreConfig,
    retry: Retry = "errors",
    tracking: TrackingConfig | None = None,
) -> RunManifest:
    """The manifest of a run that begins now."""
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    return RunManifest(run_id, __version__, str(folder.absolute()), time.time(), plan, store, score, retry, tracking)


def write_manifest(manifest: RunManifest, store: Store) -> None:
    """Writes the manifest of a run into the store."""
    store.storage.write_json(store.paths.run(manifest.id), _MANIFEST.dump_python(manifest, mode="json"))


def new_status(manifest: RunManifest, store: Store) -> RunStatus:
    """The status of a run that begins now, in this process."""
    status = RunStatus(manifest.id, store.root, "running", os.uname().nodename, os.getpid(), time.time())
    status.slurm_job = job_of(os.environ)
    return status


def read_run(run: Path) -> tuple[RunManifest, RunStatus, Store]:
    """A run's manifest and status, and its store.

    Args:
        run: the run's folder, or its run.json.

    Raises:
        StoreError: there is no run there, or its store is gone.
    """
    folder = run if run.is_dir() else run.parent
    if not (folder / RUN_FILE).is_file():
        raise StoreError(f"{run} is no run: give the folder that `eibench-ray run` named (it holds {RUN_FILE})")
    try:
        status = _STATUS.validate_python(read_json(folder / RUN_FILE))
        store = Store(status.store)
        manifest = _MANIFEST.validate_python(store.storage.read_json(store.paths.run(status.id)))
    except ValidationError as error:
        raise StoreError(
            f"the record of the run in {folder} is of another version ({error.error_count()} problems)"
        ) from None
    return manifest, status, store


def find_latest_run(working: Path = Path()) -> Path:
    """The folder of the run that was active last, below Hydra's `multirun` and `outputs`.

    Raises:
        StoreError: there is none.
    """
    found = [path for name in ("multirun", "outputs") for path in (working / name).glob(f"*/*/{RUN_FILE}")]
    if not found:
        raise StoreError("there is no run below ./multirun or ./outputs: give the folder of one")
    return max(found, key=lambda path: path.stat().st_mtime).parent

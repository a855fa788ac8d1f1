"""The runs of a store, and the one that somebody means: by its folder, its id, or the beginning of its id."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from eibench_ray.errors import StoreError
from eibench_ray.runs.known_stores import known_stores
from eibench_ray.runs.run_record import RunManifest, RunStatus, read_manifest_of, read_run, read_state, to_status
from eibench_ray.storage.atomic_files import read_json
from eibench_ray.store.processes import Life
from eibench_ray.store.run_folder import RUN_FILE
from eibench_ray.store.slice_store import Store

T = TypeVar("T")

log = logging.getLogger(__name__)

# A run writes its status every few seconds while it asks; scoring a large sweep takes some minutes.
SILENT_S = 600.0
# Stores that are read at once.
_MOST_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run with all that is known of it."""

    manifest: RunManifest
    status: RunStatus
    store: Store
    folder: Path  # where its files lie, or lay
    has_folder: bool  # whether it is there, as far as it can be seen from here


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A line of the list of runs.

    Attributes:
        silent_s: how long a run that goes on has said nothing; None where that cannot be told, or it is short.
    """

    id: str
    store: str
    sweep: str
    state: str  # as in the status; `killed` where its process is gone without a word, `unknown` where its record is
    started_at: float
    updated_at: float
    rows: int
    rows_done: int
    folder: str
    has_folder: bool
    user: str = ""
    working: str = ""
    host: str = ""
    silent_s: float | None = None
    trouble: str = ""  # why its record cannot be read; empty where it can


def list_runs(store: Store) -> list[ListedRun]:
    """The runs of a store, the one that began last first."""
    with ThreadPoolExecutor(store.storage.num_threads) as pool:
        found = list(pool.map(lambda run_id: _look_at(run_id, store), run_ids(store)))
    return sorted(found, key=lambda run: (-run.started_at, run.id))


def run_ids(store: Store) -> list[str]:
    """The ids of a store's runs."""
    names = (entry.name for entry in store.storage.list(store.paths.runs))
    return [name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith(".")]


def find_run(run: str | None, store: str | None = None, working: Path = Path()) -> FoundRun:
    """The run that somebody means.

    Args:
        run: its folder, its run.json, its id or the beginning of it; None: the one that was active last.
        store: where its store lies; None: where the run left it, or one that this user's runs have used.
        working: the folder from which the command is called.

    Raises:
        StoreError: there is none, or there are several.
    """
    if run is None:
        return _find_latest(store, working)
    path = Path(run)
    if (path / RUN_FILE).is_file() or (path.is_file() and path.name == RUN_FILE):
        return _open(path if path.is_dir() else path.parent, store)
    near, others = ([store], []) if store is not None else known_stores(working)
    for roots in (near, others):
        known = _read_each(roots, lambda found: [(found, run_id) for run_id in run_ids(found)], store)
        matches = [match for match in known if match[1].startswith(run)]
        exact = [match for match in matches if match[1] == run]
        matches = exact[:1] or matches
        if len(matches) > 1:
            names = ", ".join(sorted(run_id for _, run_id in matches)[:5])
            raise StoreError(f"{len(matches)} runs begin with {run!r} ({names}): give more of the id")
        if matches:
            found, run_id = matches[0]
            return open_by_id(run_id, found)
    if path.exists():
        raise StoreError(
            f"{run} is no run: give the folder that `eibench-ray run` named (it holds {RUN_FILE}), or a run's id; "
            f"`eibench-ray runs` lists them"
        )
    looked = f"the store {store}" if store is not None else ", ".join([*near, *others][:3]) or "any store known here"
    raise StoreError(
        f"{run!r} is neither the folder of a run nor the beginning of a run's id in {looked}: `eibench-ray runs` lists "
        f"them; --store names another store"
    )


def _find_latest(store: str | None, working: Path) -> FoundRun:
    """The run that was active last: in a store; else of those that were called from here, or lie in Hydra's folders."""
    roots = [store] if store is not None else known_stores(working)[0]
    listed = _read_each(roots, list_runs, store)
    if store is None:  # a store may have runs of other users, and of other folders
        listed = [run for run in listed if run.working == str(working.absolute())]
    latest = max(listed, key=lambda run: run.updated_at, default=None)
    folders = () if store is not None else (working / "multirun", working / "outputs")
    records = [path for folder in folders for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{RUN_FILE}")]
    record = max(records, key=lambda path: path.stat().st_mtime, default=None)
    if record is not None and (latest is None or record.stat().st_mtime > latest.updated_at + 1):
        return _open(record.parent, store)
    if latest is None:
        where = f"in the store {store}" if store is not None else "below ./multirun or ./outputs, nor in ./store"
        raise StoreError(f"there is no run {where}: give the folder of one, or its id with --store")
    return open_by_id(latest.id, Store(latest.store))


def _read_each(roots: Sequence[str], read: Callable[[Store], Sequence[T]], named: str | None) -> list[T]:
    """Reads all stores at once. One that nobody named is left out, with a line, where it cannot be read."""

    def read_one(root: str) -> Sequence[T]:
        try:
            return read(Store(root))
        except StoreError as error:
            if named is not None:
                raise
            log.warning("left out: %s", error)
            return ()

    # At once: a bucket whose service is gone is given up after 6 s or more.
    with ThreadPoolExecutor(max(1, min(len(roots), _MOST_AT_ONCE))) as pool:
        return [one for found in pool.map(read_one, roots) for one in found]


def _open(folder: Path, store: str | None) -> FoundRun:
    manifest, status, opened = read_run(folder, store)
    return FoundRun(manifest, status, opened, folder, has_folder=True)


def open_by_id(run_id: str, store: Store) -> FoundRun:
    """A run of a store by its whole id.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    manifest = read_manifest_of(run_id, store, f"run {run_id}")
    status, has_folder = read_status(run_id, store)
    return FoundRun(manifest, status, store, Path(manifest.folder), has_folder)


def read_status(run_id: str, store: Store) -> tuple[RunStatus, bool]:
    """Reads a run's status from its folder where that is still its own, else from its store; and says from which.

    Raises:
        StoreError: it cannot be read.
    """
    known = read_state(run_id, store)
    record = Path(known.folder) / RUN_FILE
    if record.is_file():
        newer = to_status(read_json(record), known.folder)
        if newer.id == run_id:
            return newer, True
    return known, False


def state_of(status: RunStatus) -> str:
    """The run's state; a run whose process is gone without a word was killed."""
    return "killed" if status.state == "running" and status.life is Life.DEAD else status.state


def _look_at(run_id: str, store: Store) -> ListedRun:
    """A run of the list; what cannot be read of it is told in its line."""
    try:
        status, has_folder = read_status(run_id, store)
    except StoreError as error:
        return ListedRun(run_id, store.root, "", "unknown", 0.0, 0.0, 0, 0, "", has_folder=False, trouble=str(error))
    state = state_of(status)
    silent_s = time.time() - status.updated_at
    return ListedRun(
        id=run_id,
        store=store.root,
        sweep=status.sweep,
        state=state,
        started_at=status.started_at,
        updated_at=status.updated_at,
        rows=status.num_rows,
        rows_done=sum(status.done.values()),
        folder=status.folder,
        has_folder=has_folder,
        user=status.user,
        working=status.working,
        host=status.host,
        silent_s=silent_s if state == "running" and has_folder and silent_s > SILENT_S else None,
    )

"""Files of a store that no run needs: found, and removed while no run may begin with them."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from eibench_ray.errors import StoreError
from eibench_ray.runs.find_run import run_ids, state_of
from eibench_ray.runs.run_record import read_state
from eibench_ray.storage.interface import Storage
from eibench_ray.store.held_lease import hold
from eibench_ray.store.leases import EXPIRE_S, LeaseFolder
from eibench_ray.store.processes import Life
from eibench_ray.store.slice_store import Store
from eibench_ray.store.speed_records import RUNS
from eibench_ray.store.store_paths import SCORES_SUFFIX


@dataclass(frozen=True, slots=True)
class Unneeded:
    """A part of a store that no run needs.

    Attributes:
        files: with their sizes in bytes, in the order in which they are removed: a step's manifest goes last, so that
            what is left of it after a kill can still be read.
        step: the id of the step that they belong to; None: of none.
    """

    what: str  # in words: `answers of a step`, `record of a run`, ..
    name: str  # which one
    files: Mapping[PurePath, int]
    step: str | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(self.files.values())


@dataclass(frozen=True, slots=True)
class _Needed:
    """Parts of a store that its runs need."""

    runs: frozenset[str]
    steps: frozenset[str]
    engines: frozenset[str]
    cells: frozenset[str]


def find_unneeded(store: Store, forget: Collection[str] = ()) -> list[Unneeded]:
    """The parts of a store that no run needs: no run's manifest names them.

    Args:
        store: the store.
        forget: ids of runs that are to be forgotten: their records are among the parts, and what only they need.

    Raises:
        StoreError: a run cannot be forgotten, or what a run needs cannot be read.
    """
    for run_id in forget:
        _check_ended(store, run_id)
    needed = _read_needed(store, forget)
    return [*_steps(store, needed), *_records(store, needed, forget)]


def remove_unneeded(store: Store, found: Sequence[Unneeded], forget: Collection[str] = ()) -> None:
    """Removes parts that `find_unneeded` has found. Their steps are locked meanwhile, as by a run.

    Raises:
        StoreError: a run has them, or has begun to need them since.
    """
    with hold(store, f"gc-{secrets.token_hex(4)}", {one.step for one in found if one.step is not None}):
        needed = _read_needed(store, forget)  # again: a run may have begun
        if lost := sorted({one.step for one in found if one.step is not None} & needed.steps):
            raise StoreError(f"a run has begun that needs {', '.join(lost[:3])}: nothing was removed; try again")
        # Records first: after a kill, what only they needed is found again.
        for one in sorted(found, key=lambda one: one.step is not None):
            for path in one.files:
                store.storage.remove(path)
            for folder in dict.fromkeys(path.parent for path in one.files):
                root = store.paths.root
                if folder.parent in (store.paths.steps, root / "batches", root / "damaged", root / "speeds"):
                    store.storage.remove_folder(folder)


def _check_ended(store: Store, run_id: str) -> None:
    if store.storage.read(store.paths.run(run_id)) is None:
        raise StoreError(f"{store.root} has no run {run_id}: `eibench-ray runs --store {store.root}` lists them")
    status = read_state(run_id, store)
    lease = LeaseFolder(store).find(run_id)
    is_held = lease is not None and bool(LeaseFolder(store).find_living([lease], EXPIRE_S))
    if is_held or (state_of(status) == "running" and status.life is Life.ALIVE):
        raise StoreError(f"run {run_id} goes on: stop it, or wait for its end, before it is forgotten")


def _read_needed(store: Store, forget: Collection[str]) -> _Needed:
    """Raises StoreError where a run's manifest cannot be read: nobody knows what it needs."""
    runs = [run_id for run_id in run_ids(store) if run_id not in forget]
    steps: set[str] = set()
    engines: set[str] = set()
    cells: set[str] = set()
    for run_id in runs:
        path = store.paths.run(run_id)
        try:
            plan: Mapping[str, Any] = store.storage.read_json(path)["plan"]
            steps |= set(plan["steps"])
            engines |= set(plan["engines"])
            cells |= {cell["key"] for cell in plan["cells"]}
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"{store.storage.name(path)} is no manifest of a run ({type(error).__name__}: {error}), so nobody "
                f"knows what it needs: move it away, or forget the run"
            ) from None
    return _Needed(frozenset(runs), frozenset(steps), frozenset(engines), frozenset(cells))


def _steps(store: Store, needed: _Needed) -> Iterator[Unneeded]:
    storage, paths = store.storage, store.paths
    for entry in storage.list(paths.steps):
        folder = paths.step(entry.name)
        if entry.name in needed.steps or not entry.is_folder or storage.is_link(folder):
            continue
        manifest = paths.manifest(entry.name)
        sizes = sorted(storage.sizes(folder).items(), key=lambda one: one[0] == manifest.name)  # the manifest last
        files = {folder / name: size for name, size in sizes}
        yield Unneeded("step", _name_step(storage, manifest, entry.name), files, entry.name)
    damaged = paths.root / "damaged"
    for entry in storage.list(damaged):
        files = {damaged / entry.name / name: size for name, size in storage.sizes(damaged / entry.name).items()}
        if files:
            yield Unneeded("damaged slices", entry.name, files)


def _records(store: Store, needed: _Needed, forget: Collection[str]) -> Iterator[Unneeded]:
    storage, paths = store.storage, store.paths
    for run_id in forget:
        yield Unneeded("run", run_id, _sizes(storage, paths.run(run_id)) | _sizes(storage, paths.state(run_id)))
    for what, folder, suffix, known in (
        ("state without a run", paths.states, ".json", needed.runs | set(forget)),
        ("record of tracked figures", paths.tracked("").parent, ".json", needed.cells),
        ("kept scores", paths.all_scores, SCORES_SUFFIX, needed.cells),
    ):
        for name, size in storage.sizes(folder).items():
            if name.endswith(suffix) and not name.startswith(".") and name.removesuffix(suffix) not in known:
                yield Unneeded(what, name.removesuffix(suffix), {folder / name: size})
    for what, parent in (("batches of an engine", "batches"), ("measured speeds of an engine", "speeds")):
        for entry in storage.list(paths.root / parent):
            folder = paths.root / parent / entry.name
            if entry.is_folder and entry.name not in needed.engines and folder != paths.speeds(RUNS):
                yield Unneeded(what, entry.name, {folder / name: size for name, size in storage.sizes(folder).items()})


def _sizes(storage: Storage, path: PurePath) -> dict[PurePath, int]:
    """One file and its size; nothing where it is not there."""
    size = storage.sizes(path.parent).get(path.name)
    return {} if size is None else {path: size}


def _name_step(storage: Storage, manifest: PurePath, step_id: str) -> str:
    """The step's id with its name, as far as its manifest tells."""
    try:
        step = storage.read_json(manifest)["step"]
        return f"{step_id} ({step['name']} on {step['dataset']})"
    except (StoreError, KeyError, TypeError):
        return step_id

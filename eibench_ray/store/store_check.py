"""Checks a store: every slice against its step's manifest, runs, leases, and what killed writes left behind."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from eibench_ray.errors import StoreError
from eibench_ray.storage.atomic_files import is_partial
from eibench_ray.store.held_lease import hold
from eibench_ray.store.leases import EXPIRE_S, LeaseFolder
from eibench_ray.store.score_file import is_intact
from eibench_ray.store.slice_check import check_slice
from eibench_ray.store.slice_store import Store
from eibench_ray.store.store_paths import SCORES_SUFFIX, slice_index
from eibench_ray.store.store_version import read_manifest
from eibench_ray.visible_text import list_some


class Repair(StrEnum):
    """Action of `--repair` for a fault; neither loses an answer that can be read."""

    REMOVE = "remove"
    MOVE = "move to damaged/"


@dataclass(frozen=True, slots=True)
class StoreFault:
    """Something that is not as it should be, or a note."""

    where: str  # the file or folder, as a user calls it
    what: str
    remedy: str = ""  # what to do about it, for people; empty where nothing is to be done
    repair: Repair | None = None  # what `--repair` does; None: nothing that is surely safe
    is_problem: bool = True
    path: PurePath = field(default_factory=PurePath)


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of a check."""

    num_steps: int
    num_slices: int
    num_rows: int
    findings: tuple[StoreFault, ...]  # in the order of the store's folders


def check_store(store: Store, on_slice: Callable[[int, int], None]) -> Checked:
    """Reads everything in a store.

    Raises:
        StoreError: there is no store, or its storage fails.
    """
    check = _Check(store)
    folders = {store.paths.steps.name, store.paths.runs.name}
    if folders.isdisjoint(entry.name for entry in store.storage.list(store.paths.root)):
        raise StoreError(f"{store.root} holds no store: name its root, as store.root names it")
    findings = [*check.leases(), *check.leftovers(), *check.runs(), *check.scores(), *check.steps(on_slice)]
    return Checked(check.num_steps, check.num_slices, check.num_rows, tuple(findings))


def repair(store: Store, findings: Sequence[StoreFault]) -> list[StoreFault]:
    """Does what is safe about the findings, while no run may begin with their steps; those that it has settled.

    Raises:
        StoreError: a run has begun with one of these steps since they were checked.
    """
    safe = [finding for finding in findings if finding.repair and not _leads_away(store, finding.path.parent)]
    steps = {finding.path.parent.name for finding in safe if finding.path.parent.parent == store.paths.steps}
    with hold(store, f"fsck-{secrets.token_hex(4)}", steps):
        for finding in safe:
            if finding.repair is Repair.REMOVE:
                store.storage.remove(finding.path)
                continue
            target = store.paths.damaged(finding.path.parent.name, finding.path.name)
            if _leads_away(store, target.parent):
                raise StoreError(f"{target.parent} leads through a link to another place: remove the link first")
            store.storage.move(finding.path, target)
    return safe


def _leads_away(store: Store, folder: PurePath) -> bool:
    """Whether a folder below the store's root is reached through a link, so that what lies there is not the store's."""
    root = store.paths.root
    below = [parent for parent in (folder, *folder.parents) if parent != root and parent.is_relative_to(root)]
    return any(map(store.storage.is_link, below))


class _Check:
    """One pass over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._storage = store.storage
        self._named: set[str] = set()  # steps that runs name
        self._has_runs = False
        self._locked: set[str] = set()
        self.num_steps = self.num_slices = self.num_rows = 0

    def leases(self) -> Iterator[StoreFault]:
        """Leases whose owners are gone, and notes on those that live."""
        folder = LeaseFolder(self._store)
        paths = self._store.paths
        try:
            leases = folder.read()
        except StoreError as error:
            yield StoreFault(self._storage.name(paths.leases), str(error))
            return
        for lease in leases:
            path = paths.lease(lease.run_id)
            where = self._storage.name(path)
            if folder.find_living([lease], EXPIRE_S):
                self._locked |= set(lease.locks)
                yield StoreFault(where, f"{lease} is active: its steps are not repaired", is_problem=False)
            else:
                yield StoreFault(where, f"{lease} is gone without releasing its lease", "", Repair.REMOVE, path=path)

    def leftovers(self) -> Iterator[StoreFault]:
        """Leftovers of killed writes outside of the steps; where a run is active, they may be its own."""
        if self._locked:
            return
        root = self._store.paths.root
        batches = root / "batches"
        engines = [batches / entry.name for entry in self._storage.list(batches) if entry.is_folder]
        paths = self._store.paths
        speeds = [paths.speeds(entry.name) for entry in self._storage.list(paths.speeds(""))]
        for folder in (
            root,
            paths.leases,
            paths.runs,
            paths.states,
            paths.all_scores,
            root / "tracked",
            *engines,
            *speeds,
        ):
            yield from self._partial(folder)

    def scores(self) -> Iterator[StoreFault]:
        """Kept scores that are not as they were written."""
        folder = self._store.paths.all_scores
        for entry in self._storage.list(folder):
            path = folder / entry.name
            if not entry.name.endswith(SCORES_SUFFIX) or is_partial(entry.name) or _leads_away(self._store, folder):
                continue
            if (content := self._storage.read(path)) is not None and not is_intact(content):
                what = "kept scores that are damaged; nothing reads them, they are made again from the rows"
                yield StoreFault(self._storage.name(path), what, "", Repair.REMOVE, path=path)

    def runs(self) -> Iterator[StoreFault]:
        """Manifests of runs that cannot be read, or name steps that are not there."""
        paths = self._store.paths
        there = {entry.name for entry in self._storage.list(paths.steps)}
        for entry in self._storage.list(paths.runs):
            path = paths.runs / entry.name
            if is_partial(entry.name) or not entry.name.endswith(".json"):
                continue
            self._has_runs = True
            where = self._storage.name(path)
            try:
                steps = set(_step_ids(self._storage.read_json(path)))
            except StoreError as error:
                yield StoreFault(where, str(error), "move it away: `report` and `status` of this run need it")
                continue
            except (KeyError, TypeError, AttributeError):
                yield StoreFault(where, "is no manifest of a run", "move it away")
                continue
            self._named |= steps
            if missing := sorted(steps - there):
                what = f"names steps that the store does not have: {list_some(missing, 3)}"
                yield StoreFault(where, what, "the run did not come to them, or they were removed", is_problem=False)

    def steps(self, on_slice: Callable[[int, int], None]) -> Iterator[StoreFault]:
        """Faults of steps and their slices."""
        findings: list[StoreFault] = []
        todo: list[tuple[str, int, int]] = []
        for entry in self._storage.list(self._store.paths.steps):
            found, slices = self._step(entry.name)
            findings += found
            todo += slices
        self.num_slices = len(todo)
        with ThreadPoolExecutor(self._storage.num_threads) as pool:
            for done, (num_rows, found) in enumerate(pool.map(self._slice, todo), start=1):
                self.num_rows += num_rows
                findings += found
                on_slice(done, len(todo))
        return iter(findings)

    def _step(self, step_id: str) -> tuple[list[StoreFault], list[tuple[str, int, int]]]:
        """Faults of a step's folder, and its slices: step, index, rows per slice."""
        self.num_steps += 1
        folder, manifest = self._store.paths.step(step_id), self._store.paths.manifest(step_id)
        findings: list[StoreFault] = []
        where = self._storage.name(folder)
        if is_elsewhere := _leads_away(self._store, folder):
            what = "is reached through a link: it is checked, and not repaired"
            findings.append(StoreFault(where, what, "run fsck where its files lie", is_problem=False))
        names = [entry.name for entry in self._storage.list(folder) if not is_partial(entry.name)]
        if step_id not in self._locked and not is_elsewhere:
            findings += self._partial(folder)
        slices = [(step_id, index) for name in names if (index := slice_index(name)) is not None]
        for name in names:
            if name != manifest.name and slice_index(name) is None:
                findings.append(StoreFault(f"{where}/{name}", "is nothing that belongs to a step", "move it away"))
        size = 0
        if manifest.name not in names:
            what = f"{len(slices)} slices without a manifest: nobody knows which rows they hold"
            findings.append(StoreFault(where, what, f"restore its {manifest.name}, or move the folder away"))
        else:
            try:
                size = read_manifest(self._storage.read_json(manifest), self._storage.name(manifest))
            except StoreError as error:
                findings.append(StoreFault(self._storage.name(manifest), str(error)))
        if self._has_runs and step_id not in self._named:
            what = "no run names this step"
            remedy = "keep it for runs to come, or `eibench-ray gc` removes it"
            findings.append(StoreFault(where, what, remedy, is_problem=False))
        return findings, [(*slice_, size) for slice_ in slices] if size else []

    def _slice(self, place: tuple[str, int, int]) -> tuple[int, list[StoreFault]]:
        """The rows of a slice, and what is wrong with them."""
        step_id, index, size = place
        path = self._store.paths.slice(step_id, index)
        content = self._storage.read(path)
        if content is None:
            return 0, []
        checked = check_slice(content, size)
        where = self._storage.name(path)
        is_movable = checked.is_unreadable and step_id not in self._locked and not _leads_away(self._store, path.parent)
        findings = [
            StoreFault(
                where,
                what,
                "its rows are asked again once it is moved away" if checked.is_unreadable else checked.remedy,
                Repair.MOVE if is_movable else None,
                path=path,
            )
            for what in checked.problems
        ]
        findings += [StoreFault(where, what, is_problem=False) for what in checked.notes]
        return checked.num_rows, findings

    def _partial(self, folder: PurePath) -> list[StoreFault]:
        """Leftovers of killed writes in a folder, unless a link leads there."""
        if _leads_away(self._store, folder):
            return []
        paths = [folder / entry.name for entry in self._storage.list(folder) if is_partial(entry.name)]
        what = "a write that was not finished; nothing reads it"
        return [StoreFault(self._storage.name(path), what, "", Repair.REMOVE, path=path) for path in paths]


def _step_ids(manifest: Any) -> Sequence[str]:
    return list(manifest["plan"]["steps"])

"""Parts of a store that no run needs are found and removed; what a run needs, or holds, stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from eibench_ray.errors import StoreError
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import new_manifest, new_status, write_manifest, write_state
from eibench_ray.runs.unneeded import find_unneeded, remove_unneeded
from eibench_ray.storage.local import LocalStorage
from eibench_ray.store.held_lease import hold
from eibench_ray.store.slice_store import Store
from eibench_ray.store.store_check import check_store

if TYPE_CHECKING:
    from conftest import Sweeps

    from eibench_ray.runs.planning import PlannedSweep


@pytest.fixture
def plain(sweeps: Sweeps) -> PlannedSweep:
    """A sweep that was asked, in a new store."""
    sweeps.write_dataset()
    sweep = sweeps.plan(sweeps.config("plain"))
    sweeps.ask(sweep)
    return sweep


def record(sweep: PlannedSweep, run_id: str, state: str = "finished") -> str:
    """A run of the sweep, as its store knows it."""
    manifest = new_manifest(sweep.plan, Path("folder"), sweep.config.store, sweep.config.score, run_id=run_id)
    status = new_status(manifest, sweep.store)
    write_state(replace(status, state=state), sweep.store)
    write_manifest(manifest, sweep.store)
    return run_id


def other(sweeps: Sweeps, judge: str = "official") -> PlannedSweep:
    """A sweep over the same answers, by another judge."""
    sweep = sweeps.plan(sweeps.config("plain", judge))
    sweeps.ask(sweep)
    return sweep


def steps_of(store: Store) -> set[str]:
    return {entry.name for entry in store.storage.list(store.paths.steps)}


def problems(store: Store) -> list[str]:
    return [found.what for found in check_store(store, lambda *_: None).findings if found.is_problem]


def values(sweep: PlannedSweep) -> list[float | None]:
    (cell,) = sweep.plan.cells
    return [row.value for row in Results(sweep.plan, Store(sweep.store.root)).join(cell)]


def test_a_store_whose_runs_need_all_has_nothing_to_remove(plain: PlannedSweep) -> None:
    record(plain, "a")
    assert find_unneeded(plain.store) == []


def test_only_steps_that_no_run_names_go(sweeps: Sweeps, plain: PlannedSweep) -> None:
    record(plain, "a")
    another = other(sweeps)
    before = values(plain)
    found = find_unneeded(plain.store)
    (verdict,) = another.plan.steps.keys() - plain.plan.steps.keys()
    assert [one.step for one in found] == [verdict]
    assert found[0].name == verdict  # with its name behind it, where its manifest says one
    assert found[0].num_bytes == sum(path.stat().st_size for path in Path(plain.store.paths.step(verdict)).iterdir())
    remove_unneeded(plain.store, found)
    assert steps_of(plain.store) == set(plain.plan.steps)
    assert values(plain) == before
    assert problems(plain.store) == []


def test_a_forgotten_run_takes_what_only_it_needs(sweeps: Sweeps, plain: PlannedSweep) -> None:
    record(plain, "a")
    another = other(sweeps)
    record(another, "b")
    found = find_unneeded(plain.store, ["a"])
    assert [one.what for one in found] == ["step", "run"]
    remove_unneeded(plain.store, found, ["a"])
    assert steps_of(plain.store) == set(another.plan.steps)
    assert find_unneeded(plain.store) == []
    assert problems(plain.store) == []


@pytest.mark.parametrize("run_id", ["a", "b"])
def test_a_run_that_goes_on_or_is_not_there_cannot_be_forgotten(plain: PlannedSweep, run_id: str) -> None:
    record(plain, "a", "running")
    with pytest.raises(StoreError, match="goes on" if run_id == "a" else "has no run b"):
        find_unneeded(plain.store, [run_id])


def test_nothing_goes_that_a_run_has_locked(sweeps: Sweeps, plain: PlannedSweep) -> None:
    record(plain, "a")
    other(sweeps)
    found = find_unneeded(plain.store)
    before = steps_of(plain.store)
    with hold(plain.store, "c", [found[0].step or ""]), pytest.raises(StoreError, match="run c"):
        remove_unneeded(plain.store, found)
    assert steps_of(plain.store) == before


def test_a_run_that_began_meanwhile_keeps_its_steps(sweeps: Sweeps, plain: PlannedSweep) -> None:
    record(plain, "a")
    another = other(sweeps)
    found = find_unneeded(plain.store)
    record(another, "b")
    with pytest.raises(StoreError, match="a run has begun that needs"):
        remove_unneeded(plain.store, found)
    assert values(another).count(None) == 0


def test_where_a_run_cannot_be_read_nothing_is_called_unneeded(plain: PlannedSweep) -> None:
    record(plain, "a")
    Path(plain.store.paths.run("a")).write_text(json.dumps({"id": "a"}))
    with pytest.raises(StoreError, match="nobody knows what it needs"):
        find_unneeded(plain.store)


def test_after_a_kill_the_rest_is_found_again(
    sweeps: Sweeps, plain: PlannedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(plain, "a")
    other(sweeps)
    removed: list[PurePath] = []

    def remove(self: LocalStorage, path: PurePath) -> None:  # noqa: ARG001
        if len(removed) == 2 and "leases" not in path.parts:
            raise KeyboardInterrupt
        removed.append(path)
        Path(path).unlink()

    found = find_unneeded(plain.store)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "remove", remove)
        with pytest.raises(KeyboardInterrupt):
            remove_unneeded(plain.store, found)
    assert problems(plain.store) == []
    remove_unneeded(plain.store, find_unneeded(plain.store))
    assert steps_of(plain.store) == set(plain.plan.steps)


def test_records_of_cells_and_engines_that_no_run_has_go(plain: PlannedSweep) -> None:
    record(plain, "a")
    storage, paths = plain.store.storage, plain.store.paths
    (cell,) = plain.plan.cells
    engine = next(iter(plain.plan.engines))
    for key, other_key in ((cell.key, "0" * 8),):
        storage.write_json(paths.tracked(key), {})
        storage.write_json(paths.tracked(other_key), {})
    for key in (engine, "1" * 8):
        storage.write_json(paths.batches(key) / "batch.json", {})
    storage.write_json(paths.state("gone"), {})
    found = find_unneeded(plain.store)
    assert {(one.what, one.name) for one in found} == {
        ("record of tracked figures", "0" * 8),
        ("batches of an engine", "1" * 8),
        ("state without a run", "gone"),
    }
    remove_unneeded(plain.store, found)
    assert storage.read(paths.tracked(cell.key)) is not None
    assert storage.read(paths.batches(engine) / "batch.json") is not None
    assert find_unneeded(plain.store) == []


def test_speeds_of_engines_that_no_run_asks_go(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    folder = Path(store.root) / "speeds"
    for name in ("gone", "runs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.json").write_text("{}")
    found = [one for one in find_unneeded(store) if one.what == "measured speeds of an engine"]
    assert [one.name for one in found] == ["gone"]
    remove_unneeded(store, found)
    assert [path.name for path in folder.iterdir()] == ["runs"]

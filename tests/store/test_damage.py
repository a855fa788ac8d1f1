"""Kills, full disks, disks that cannot be written, clocks that jump: what was committed is kept, the rest is asked."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eibench_ray.driver.run_events import Ledger
from eibench_ray.errors import StoreError
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.request import Request
from eibench_ray.runs.planning import PlannedSweep
from eibench_ray.runs.results import Results
from eibench_ray.store.slice_file import SliceFile
from eibench_ray.store.slice_store import Store

if TYPE_CHECKING:
    from conftest import Scripted, Sweeps

DYING = Path(__file__).parent / "dying.py"


def committed(sweep: PlannedSweep) -> dict[tuple[str, str], Completion]:
    """All rows of a store, by step and sample."""
    return {
        (step, sample_id): row
        for step in sweep.plan.steps
        for index in sweep.store.list_slices(step)
        for sample_id, row in sweep.store.read_slice(step, index).items()
    }


def rain(request: Request) -> str:
    return f"it rains on {request.sample_id}"


@pytest.mark.parametrize(
    ("where", "moment", "number"),
    [("disk", "written", 2), ("disk", "renamed", 4), ("disk", "answered", 7), ("bucket", "answered", 17)],
)
def test_a_run_that_was_killed_at_some_moment_goes_on_with_nothing_lost_and_none_twice(
    sweeps: Sweeps, scripted: type[Scripted], request: pytest.FixtureRequest, where: str, moment: str, number: int
) -> None:
    root = request.getfixturevalue("s3_root") if where == "bucket" else str(sweeps.folder / "store")
    sweeps.write_dataset()
    config = sweeps.config(store={"root": root, "slice_rows": 4})
    command = [sys.executable, DYING, sweeps.folder, root, moment, str(number)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    before = committed(sweeps.plan(config))
    assert len(before) < 20
    engine = scripted(rain)
    sweeps.ask(sweeps.plan(config), engine)
    again = sweeps.plan(config)
    assert again.is_complete
    assert len(engine.requests) == 20 - len(before)
    rows = committed(again)
    assert len(rows) == 20
    assert all(rows[place] == row for place, row in before.items())
    assert {row.text for row in rows.values()} == {f"it rains on s{number:03d}" for number in range(10)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of its own, or mounts it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def test_a_disk_that_is_full_ends_the_run_with_one_paragraph_and_loses_nothing(
    sweeps: Sweeps, scripted: type[Scripted], small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("size=48k")  # half of the slices
    sweeps.write_dataset(range(40))
    config = sweeps.config(store={"root": str(disk / "store"), "slice_rows": 4})
    with pytest.raises(
        StoreError, match=r"cannot be written \(No space left on device\): check .*run the same"
    ) as full:
        sweeps.ask(sweeps.plan(config), scripted(rain))
    assert "\n" not in str(full.value)
    before = committed(sweeps.plan(config))
    assert 0 < len(before) < 80
    assert not list(disk.rglob(".*"))
    small_disk("remount,size=4m")
    engine = scripted(rain)
    sweeps.ask(sweeps.plan(config), engine)
    again = sweeps.plan(config)
    assert again.is_complete
    assert len(engine.requests) == 80 - len(before)
    assert before.items() <= committed(again).items()


def test_a_ledger_on_a_full_disk_is_one_paragraph() -> None:
    ledger = Ledger(Path("/dev/full"))
    with pytest.raises(
        StoreError, match=r"/dev/full cannot be written \(No space left on device\): check .*the free space"
    ):
        ledger.write("run_started")
    ledger.close()


def test_a_file_that_may_not_grow_leaves_the_committed_one(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.fix_slice_rows("step", 4, {})
    row = Completion("a", "d", "sun", None, None, "stop", 1, 1, 0, 1, 0.5, 1.0, "echo", "run")
    store.write_slice("step", 0, [row])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StoreError, match=r"cannot be written \(File too large\)"):
            store.write_slice("step", 0, [replace(row, text="rain")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.read_slice("step", 0) == {"a": row}
    assert sorted(path.name for path in (tmp_path / "store/steps/step").iterdir()) == [
        "manifest.json",
        "slice-000000.parquet",
    ]


def test_a_store_that_can_only_be_read_is_reported_and_refuses_a_run(
    sweeps: Sweeps, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("size=4m")
    sweeps.write_dataset()
    config = sweeps.config(store={"root": str(disk / "store"), "slice_rows": 4})
    sweeps.ask(sweeps.plan(config))
    sweeps.write_dataset(range(12))
    small_disk("remount,ro")
    sweep = sweeps.plan(config)
    assert sweep.num_done == 20
    assert sum(row.answer is not None for row in Results(sweep.plan, sweep.store).join(sweep.plan.cells[0])) == 10
    for write in (
        lambda: sweeps.ask(sweep),
        lambda: sweep.store.storage.check_writable(sweep.store.paths.root),
    ):
        with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\)"):
            write()


def test_what_a_killed_write_left_is_removed_and_nothing_else(sweeps: Sweeps) -> None:
    sweeps.write_dataset()
    sweep = sweeps.plan()
    sweeps.ask(sweep)
    step = next(iter(sweep.plan.steps))
    folder = Path(sweep.store.paths.step(step))
    there = set(folder.iterdir())
    (folder / ".slice-000001.parquet.ab12.tmp").write_bytes(b"half")
    assert sweeps.plan().is_complete
    sweep.store.remove_partial(step)
    assert set(folder.iterdir()) == there


@pytest.mark.parametrize("hours", [5, -5])
def test_a_clock_that_jumped_asks_nothing_twice(
    sweeps: Sweeps, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    sweeps.write_dataset(range(9))
    sweeps.ask(sweeps.plan())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600 * hours)
    sweeps.write_dataset(range(1, 9))  # every fourth sample moves to another slice
    sweeps.ask(sweeps.plan(), scripted(lambda request: f"new {request.sample_id}"))
    sweep = sweeps.plan()
    assert sweep.is_complete
    joined = list(Results(sweep.plan, sweep.store).join(sweep.plan.cells[0]))
    assert all(row.answer and all(row.replies) for row in joined)
    moved = {row.sample.sample_id for row in joined if row.answer and (row.answer.text or "").startswith("new")}
    assert moved == {"s004", "s008"}


def row_of(sample_id: str, **changes: Any) -> Completion:
    row = Completion(sample_id, "d", "sun", None, None, "stop", 1, 1, 0, 1, 0.5, 1.0, "echo", "mine", cost_usd=1.0)
    return replace(row, **changes)


def test_what_another_run_commits_meanwhile_is_noticed_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    file = SliceFile(store, "step", 0)
    file.write([row_of("a")], num_asked=1, made_from=None)
    assert file.read_news() == {}
    theirs = row_of("b", run_id="theirs", cost_usd=2.0)
    store.write_slice("step", 0, [row_of("a"), theirs])
    assert file.read_news() == {"b": theirs}
    assert file.read_news() == {}

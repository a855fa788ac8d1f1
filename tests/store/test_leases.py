"""Two runs on one store: the second is refused or shares, and what a dead one held is free again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eibench_ray.errors import EibenchError, StoreError
from eibench_ray.store.held_lease import hold
from eibench_ray.store.leases import EXPIRE_S, FENCE_S, RENEW_S, Lease, LeaseFolder, new_lease
from eibench_ray.store.processes import Life
from eibench_ray.store.slice_store import Store

ELSEWHERE = {"host": "far", "kernel": "another boot", "pid": 7, "started": 1}

HOLDER = """
import sys, time
from eibench_ray.store.held_lease import hold
from eibench_ray.store.slice_store import Store
with hold(Store(sys.argv[1]), "first", ["a", "b"]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def foreign(store: Store, **changes: object) -> Lease:
    """The lease of a run on another machine, written."""
    lease = replace(new_lease("first", ["a", "b"]), renewal=1, **(ELSEWHERE | changes))
    LeaseFolder(store).write(lease)
    return lease


class Renewing(threading.Thread):
    """Another machine that renews its lease."""

    def __init__(self, store: Store, lease: Lease) -> None:
        super().__init__(daemon=True)
        self._folder, self._lease = LeaseFolder(store), lease
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(0.05):
            self._lease = replace(self._lease, renewal=self._lease.renewal + 1)
            self._folder.write(self._lease)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()


def until(is_true: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_that_holds_a_step_refuses_another_which_may_have_other_steps(store: Store) -> None:
    with hold(store, "first", ["a", "b"]):
        words = r"is in use: run first on .* \(process \d+, since .*\) asks what this run would ask, too \(b\).*kill"
        with pytest.raises(StoreError, match=words) as refused, hold(store, "second", ["b", "c"]):
            pass
        assert f"process {os.getpid()}" in str(refused.value)
        assert "\n" not in str(refused.value)
        with hold(store, "third", ["c", "d"]):
            assert {lease.run_id for lease in LeaseFolder(store).read()} == {"first", "third"}
    with hold(store, "second", ["b", "c"]):
        pass
    assert LeaseFolder(store).read() == []


def test_a_run_with_nothing_to_ask_claims_nothing(store: Store) -> None:
    with hold(store, "first", []):
        assert not Path(store.paths.leases).exists()


def test_what_a_killed_run_held_is_free_at_once(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, store.root], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"process {holder.pid}"), hold(store, "second", ["a"]):
            pass
        holder.kill()
        holder.wait()
        with hold(store, "second", ["a"], expire_s=3600.0):  # which is not waited for
            assert [lease.took_over for lease in LeaseFolder(store).read()] == [("first",)]


def test_a_process_that_has_only_the_number_of_the_owner_is_not_it(store: Store) -> None:
    mine = new_lease("first", ["a"])
    assert mine.life is Life.ALIVE
    LeaseFolder(store).write(replace(mine, started=mine.started - 1, renewal=3))
    with hold(store, "second", ["a"]):
        pass


def test_an_owner_elsewhere_that_renews_is_alive(store: Store) -> None:
    with Renewing(store, foreign(store)), pytest.raises(StoreError, match="run first on far"):  # noqa: SIM117
        with hold(store, "second", ["a"], expire_s=20.0):
            pass


@pytest.mark.parametrize("hours", [-5, 5])
def test_an_owner_elsewhere_that_stands_still_is_taken_over_whatever_its_clock_says(store: Store, hours: int) -> None:
    foreign(store, since=time.time() + 3600 * hours)
    started = time.monotonic()
    with hold(store, "second", ["a"], expire_s=0.3):
        assert time.monotonic() - started >= 0.3
        assert [lease.run_id for lease in LeaseFolder(store).read()] == ["second"]


def in_job(monkeypatch: pytest.MonkeyPatch, job: str, restarts: str = "", cluster: str = "alpha") -> dict[str, object]:
    """Puts this process into a batch job; returns what a lease from there says of it."""
    for name, value in {"JOB_ID": job, "RESTART_COUNT": restarts, "CLUSTER_NAME": cluster}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return {"job": new_lease("any", []).job, "restarts": new_lease("any", []).restarts}


def test_a_job_that_is_queued_again_does_not_wait_for_its_own_earlier_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = foreign(store, **in_job(monkeypatch, "7"))
    assert before.life is Life.UNKNOWN
    in_job(monkeypatch, "7", "1")
    with hold(store, "second", ["a"], expire_s=3600.0):  # which is not waited for
        assert [lease.took_over for lease in LeaseFolder(store).read()] == [("first",)]


@pytest.mark.parametrize(
    ("job", "restarts", "cluster"),
    [("8", "2", "alpha"), ("7", "1", "alpha"), ("7", "", "alpha"), ("7", "2", "beta"), ("", "2", "alpha")],
    ids=["another job", "a step of the same start", "a start before", "another cluster's", "no job"],
)
def test_whoever_else_comes_from_a_job_waits_for_the_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch, job: str, restarts: str, cluster: str
) -> None:
    owner = foreign(store, **in_job(monkeypatch, "7", "1"))
    in_job(monkeypatch, job, restarts, cluster)
    with Renewing(store, owner), pytest.raises(StoreError, match="run first on far"):  # noqa: SIM117
        with hold(store, "second", ["a"], expire_s=20.0):
            pass


def test_an_earlier_start_of_a_job_that_is_seen_to_live_is_not_taken_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_job(monkeypatch, "7")
    with hold(store, "first", ["a"]):
        in_job(monkeypatch, "7", "1")
        with pytest.raises(StoreError, match="run first on"), hold(store, "second", ["a"]):
            pass


def test_an_owner_that_was_taken_over_learns_it_and_stops(store: Store) -> None:
    told = threading.Event()
    with hold(store, "first", ["a"], renew_s=0.05) as held_lease:
        held_lease.on_loss(told.set)
        until(lambda: LeaseFolder(store).read()[0].renewal > 2)
        held_lease.check()
        heir = replace(new_lease("second", ["a"]), took_over=("first",), renewal=1)
        LeaseFolder(store).write(heir)
        assert told.wait(20)
        with pytest.raises(EibenchError, match=r"lost its hold on the store: .* run second .* took over") as lost:
            held_lease.check()
        assert lost.value.exit_code == 1
    assert [lease.run_id for lease in LeaseFolder(store).read()] == ["second"]


def test_an_owner_whose_lease_was_removed_stops(store: Store) -> None:
    told = threading.Event()
    with hold(store, "first", ["a"], renew_s=0.05) as held_lease:
        held_lease.on_loss(told.set)
        store.storage.remove(store.paths.lease("first"))
        assert told.wait(20)
        late = threading.Event()
        held_lease.on_loss(late.set)
        assert late.is_set(), "who asks after the loss is told at once"
    assert LeaseFolder(store).read() == []


def test_an_owner_that_cannot_renew_gives_up_before_others_may_take_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FENCE_S + RENEW_S < EXPIRE_S
    monkeypatch.setattr("eibench_ray.store.held_lease.FENCE_S", 0.5)

    def fail(_: LeaseFolder) -> list[Lease]:
        raise StoreError("no route to host")

    told = threading.Event()
    with hold(store, "first", ["a"], renew_s=0.05) as held_lease:
        held_lease.on_loss(told.set)
        monkeypatch.setattr(LeaseFolder, "read", fail)
        time.sleep(0.2)
        held_lease.check()
        assert told.wait(20)
        with pytest.raises(EibenchError, match=r"could not be renewed for \d+ s \(no route to host\)"):
            held_lease.check()


@pytest.mark.parametrize(("expire_s", "looks"), [(60.0, 60), (2.0, 10)])
def test_a_lease_that_may_be_dead_is_looked_at_each_second_or_ten_times(
    store: Store, monkeypatch: pytest.MonkeyPatch, expire_s: float, looks: int
) -> None:
    folder, lease = LeaseFolder(store), replace(new_lease("far", ["a"]), kernel="another boot")
    folder.write(lease)
    waits: list[float] = []
    monkeypatch.setattr("eibench_ray.store.leases.time.sleep", waits.append)
    monkeypatch.setattr("eibench_ray.store.leases.time.monotonic", lambda: round(sum(waits), 6))
    assert folder.find_living([lease], expire_s) == []
    assert waits == [pytest.approx(expire_s / looks)] * looks


def test_a_run_that_holds_a_step_refuses_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(_: float) -> None:
        raise AssertionError("another run was waited for")

    with hold(store, "first", ["a"]):
        monkeypatch.setattr("eibench_ray.store.held_lease.time.sleep", wait)
        with pytest.raises(StoreError, match="in use: run first"), hold(store, "second", ["a"]):
            pass


def test_a_run_that_never_comes_to_hold_what_it_locks_is_not_passed_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    LeaseFolder(store).write(new_lease("first", ["a"]))
    waits: list[float] = []
    monkeypatch.setattr("eibench_ray.store.held_lease.time.sleep", waits.append)
    with pytest.raises(StoreError, match="in use: run first"), hold(store, "second", ["a"]):
        pass
    assert len(waits) == 5, "it withdraws, and tries again after a moment"
    assert all(0 <= wait <= 0.2 for wait in waits)
    assert [lease.run_id for lease in LeaseFolder(store).read()] == ["first"]


def test_of_runs_that_begin_together_never_two_hold_the_same(store: Store) -> None:
    num_holding, most, num_held = 0, 0, 0
    lock = threading.Lock()

    def begin(run_id: str) -> None:
        nonlocal num_holding, most, num_held
        try:
            with hold(store, run_id, ["a"]):
                with lock:
                    num_holding, num_held = num_holding + 1, num_held + 1
                    most = max(most, num_holding)
                time.sleep(0.02)
                with lock:
                    num_holding -= 1
        except StoreError:
            return

    for attempt in range(5):
        threads = [threading.Thread(target=begin, args=(f"run {attempt} {number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1
    assert num_held >= 5


def test_a_lease_that_is_none_is_named(store: Store) -> None:
    store.storage.write_json(store.paths.lease("odd"), {"run": 1})
    with pytest.raises(StoreError, match=r"odd\.json is no lease of a run"), hold(store, "second", ["a"]):
        pass

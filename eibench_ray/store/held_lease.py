"""Holds a run's lease while it asks: claimed at the beginning, renewed by a thread, released at the end."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from eibench_ray.errors import EibenchError, StoreError
from eibench_ray.store.leases import EXPIRE_S, FENCE_S, RENEW_S, Lease, LeaseFolder, new_lease
from eibench_ray.store.processes import Life
from eibench_ray.store.slice_store import Store
from eibench_ray.visible_text import list_some

log = logging.getLogger(__name__)

# Runs that begin at the same moment withdraw for each other; after so many times one of them gives up.
ATTEMPTS = 5


class HeldLease:
    """A lease that is held, until it is released or lost.

    Args:
        folder: the store's leases.
        lease: the one that was claimed; None holds nothing.
        renew_s: how often it is renewed.
    """

    def __init__(self, folder: LeaseFolder, lease: Lease | None, renew_s: float = RENEW_S) -> None:
        self._folder = folder
        self._lease = lease
        self._renew_s = renew_s
        self._renewed_at = time.monotonic()
        self._is_over = threading.Event()
        self._tell: Callable[[], object] = lambda: None
        self._loss: str | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True, name="lease")
        if lease is not None:
            self._thread.start()

    def on_loss(self, tell: Callable[[], object]) -> None:
        """Calls `tell` from the renewing thread when the lease is lost; at once where it is."""
        self._tell = tell
        if self._loss is not None:
            tell()

    def check(self) -> None:
        """Raises EibenchError where the lease was lost."""
        if self._loss is not None:
            raise EibenchError(
                f"this run lost its hold on the store: {self._loss}; what it had finished is committed: run the same "
                f"command again once no other run asks these steps"
            )

    def release(self) -> None:
        """Lets others lock the same."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._lease is not None and self._loss is None:
            with contextlib.suppress(StoreError):  # it expires by itself
                self._folder.remove(self._lease)
        self._lease = None

    def _keep(self) -> None:
        while not self._is_over.wait(self._renew_s):
            if (loss := self._renew()) is not None:
                log.warning("lease lost: %s", loss)
                self._loss = loss
                self._tell()
                return

    def _renew(self) -> str | None:
        """Renews the lease; returns why it is lost, None where it is renewed, or may be a moment later."""
        assert self._lease is not None
        run_id, renewed = self._lease.run_id, replace(self._lease, renewal=self._lease.renewal + 1)
        try:
            leases = self._folder.read()
            heir = next((other for other in leases if run_id in other.took_over), None)
            if heir is not None:
                self._folder.remove(self._lease)
                return f"it was not renewed for too long, and {heir} took over"
            if not any(lease.run_id == run_id for lease in leases):
                return "its lease was removed"
            self._folder.write(renewed)
        except StoreError as error:
            late_s = time.monotonic() - self._renewed_at
            return f"it could not be renewed for {late_s:.0f} s ({error})" if late_s > FENCE_S else None
        self._lease, self._renewed_at = renewed, time.monotonic()
        return None


@contextlib.contextmanager
def hold(
    store: Store,
    run_id: str,
    locks: Collection[str],
    titles: Mapping[str, str] = {},
    *,
    renew_s: float = RENEW_S,
    expire_s: float = EXPIRE_S,
) -> Iterator[HeldLease]:
    """Locks for the block what no other run may lock at the same time; nothing where `locks` is empty.

    Args:
        store: the store.
        run_id: the run.
        locks: names of what it locks.
        titles: what people call it, by name, for the refusal.
        renew_s: how often the lease is renewed.
        expire_s: how long another's lease may stand still before it is taken over.

    Raises:
        StoreError: another run locks some of it, and lives.
    """
    folder = LeaseFolder(store)
    lease = _lock(store, folder, new_lease(run_id, locks), titles, expire_s) if locks else None
    held_lease = HeldLease(folder, lease, renew_s)
    try:
        yield held_lease
    finally:
        held_lease.release()


def _lock(store: Store, folder: LeaseFolder, lease: Lease, titles: Mapping[str, str], expire_s: float) -> Lease:
    """The lease, written and confirmed."""
    for _ in range(ATTEMPTS):
        folder.write(lease)
        rivals = lease.rivals(folder.read())
        if not rivals:
            confirmed = replace(lease, renewal=1)
            folder.write(confirmed)
            return confirmed
        folder.remove(lease)
        others = [rival for rival in rivals if not rival.is_over_for(lease)]
        doubtful = [rival for rival in others if rival.life is Life.UNKNOWN]
        if doubtful:
            log.warning("%s cannot be seen from here: watching its lease for up to %d s", doubtful[0], expire_s)
        living = folder.find_living(others, expire_s)
        if settled := next((rival for rival in living if rival.renewal), None):
            raise StoreError(_refusal(store, lease, settled, titles))
        if not living:
            for rival in rivals:
                folder.remove(rival)
            lease = replace(lease, took_over=(*lease.took_over, *(rival.run_id for rival in rivals)))
        time.sleep(random.uniform(0.0, 0.2))
    raise StoreError(_refusal(store, lease, living[0] if living else rivals[0], titles))


def _refusal(store: Store, lease: Lease, rival: Lease, titles: Mapping[str, str]) -> str:
    shared = sorted(titles.get(name, name) for name in set(lease.locks).intersection(rival.locks))
    return (
        f"the store {store.root} is in use: {rival} asks what this run would ask, too ({list_some(shared, 3)}): wait "
        f"until it has ended, or stop it there with `kill {rival.pid}`, and run the same command again; runs that "
        f"share no step may share a store"
    )

"""Leases on a store's steps: a file per run, so that no two runs ask the same step at the same time.

A run writes what it locks and then looks for others that lock some of it too. Whoever finds one withdraws: of two
that come together each sees the other, as whoever lists a folder sees what was written before (file systems, S3, GCS).

The owner renews its lease by counting it up; nobody compares clocks. An owner is dead if its process is gone, as the
same kernel can tell at once, or if its count stood still while another run watched it, by its own monotonic clock, for
`EXPIRE_S`. An owner that cannot be seen (another machine's, another container's, another user's behind `hidepid`) is
not taken for dead: it is watched.

An earlier start of a run's own batch job is over for it without being watched: SLURM has ended it, or lost its node.
Where it lives on, as on a node that SLURM alone does not reach, it is an owner that is taken over.

What remains: an owner that is cut off or suspended for longer is taken over, and learns so at its next renewal, within
`RENEW_S` of going on. What its replicas commit until then is merged with what they find (`cluster.task`), but for what
comes between their look and their write.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from eibench_ray.errors import StoreError
from eibench_ray.storage.atomic_files import parse_json
from eibench_ray.store.batch_job import BatchJob, this_job
from eibench_ray.store.processes import Life, ProcessId, find_life, this_process
from eibench_ray.store.slice_store import Store

RENEW_S = 10.0
# An owner that could not renew for so long gives up; others take over later than that.
FENCE_S = 40.0
EXPIRE_S = 60.0
# How often a lease is looked at that may be dead.
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Lease:
    """Steps that one run locks.

    Attributes:
        host, kernel, pid, started: the driver's process (`ProcessId`).
        job, restarts: the batch job that it is a part of (`BatchJob`).
    """

    run_id: str
    host: str
    kernel: str
    pid: int
    started: int
    since: float  # Unix time, seconds; for people
    locks: tuple[str, ...]  # names of what nobody else may lock at the same time
    took_over: tuple[str, ...] = ()  # runs whose leases it removed because they did not renew them
    renewal: int = 0  # counts up; 0 until the run has found that nobody else locks the same
    job: str = ""
    restarts: int = 0

    @property
    def batch_job(self) -> BatchJob:
        """The batch job that its process is a part of."""
        return BatchJob(self.job, self.restarts)

    @property
    def life(self) -> Life:
        """Whether its process lives, as far as it can be seen from here."""
        return find_life(ProcessId(self.host, self.kernel, self.pid, self.started))

    def is_over_for(self, heir: Lease) -> bool:
        """Whether its owner is an earlier start of the heir's batch job, and is not seen to live."""
        return heir.batch_job.is_queued_again(self.batch_job) and self.life is not Life.ALIVE

    def rivals(self, others: Iterable[Lease]) -> list[Lease]:
        """The leases of other runs that lock some of the same."""
        mine = set(self.locks)
        return [other for other in others if other.run_id != self.run_id and not mine.isdisjoint(other.locks)]

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"run {self.run_id} on {self.host} (process {self.pid}, since {since})"


def new_lease(run_id: str, locks: Iterable[str]) -> Lease:
    """A lease of this process, not yet written."""
    own, job = this_process(), this_job()
    lease = Lease(run_id, own.host, own.kernel, own.pid, own.started, time.time(), tuple(sorted(locks)))
    return replace(lease, job=job.name, restarts=job.restarts)


class LeaseFolder:
    """The leases of a store."""

    def __init__(self, store: Store) -> None:
        self._storage = store.storage
        self._paths = store.paths

    def read(self) -> list[Lease]:
        """All leases.

        Raises:
            StoreError: one is no lease.
        """
        names = [entry.name for entry in self._storage.list(self._paths.leases) if entry.name.endswith(".json")]
        found = (self.find(name.removesuffix(".json")) for name in names if not name.startswith("."))
        return [lease for lease in found if lease is not None]

    def find(self, run_id: str) -> Lease | None:
        """The lease of a run; None where it has none."""
        path = self._paths.lease(run_id)
        if (content := self._storage.read(path)) is None:
            return None
        where = self._storage.name(path)
        return _to_lease(parse_json(content, where), where)

    def write(self, lease: Lease) -> None:
        """Writes a lease; the older one of its run is replaced."""
        self._storage.write_json(self._paths.lease(lease.run_id), asdict(lease))

    def remove(self, lease: Lease) -> None:
        """Removes a lease."""
        self._storage.remove(self._paths.lease(lease.run_id))

    def find_living(self, leases: Sequence[Lease], expire_s: float) -> list[Lease]:
        """Those of the leases whose owners live. Where that cannot be seen, their renewals are watched for a while.

        As soon as one is known to live, the others count as living without being watched.
        """
        watched = [lease for lease in leases if lease.life is not Life.DEAD]
        deadline = time.monotonic() + expire_s
        while watched and not any(lease.life is Life.ALIVE for lease in watched):
            if time.monotonic() >= deadline:
                return []
            time.sleep(min(LOOK_S, expire_s / 10))
            there = {lease.run_id: self.find(lease.run_id) for lease in watched}
            watched = [lease for lease in watched if there[lease.run_id] is not None and lease.life is not Life.DEAD]
            if any(found.renewal != lease.renewal for lease in watched if (found := there[lease.run_id]) is not None):
                break
        return watched


def _to_lease(value: Any, where: str) -> Lease:
    try:
        lease = Lease(**value)
        return replace(lease, locks=tuple(lease.locks), took_over=tuple(lease.took_over))
    except TypeError as error:
        raise StoreError(f"{where} is no lease of a run ({error}): see that no run is active, then remove it") from None

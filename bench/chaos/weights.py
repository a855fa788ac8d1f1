"""Which kinds of faults come where, and how often each, beside the others."""

from __future__ import annotations

from collections.abc import Mapping

from bench.chaos.bucket import Busy, Cut, Slow
from bench.chaos.damage import ClockJump, FlippedBit, HalfWritten, Truncated
from bench.chaos.disks import DiskFull, ReadOnly
from bench.chaos.kills import (
    DriverKill,
    EngineKill,
    HeadKill,
    Interrupt,
    NodeKill,
    Preemption,
    ReplicaHang,
    ReplicaKill,
    ReplicaStall,
    SecondDriver,
)
from bench.chaos.kinds import Kind

ON_DISK: Mapping[type[Kind], float] = {
    ReplicaKill: 30,
    ReplicaStall: 24,
    NodeKill: 5,
    ReplicaHang: 2,
    EngineKill: 8,
    SecondDriver: 3,
    DriverKill: 6,
    Preemption: 3,
    Interrupt: 3,
    DiskFull: 2,
    ReadOnly: 2,
    HeadKill: 1,
    Truncated: 6,
    FlippedBit: 5,
    HalfWritten: 6,
    ClockJump: 2,
}
# Where a kill costs the load of an engine, more of those that cost none.
ON_DISK_LOADED: Mapping[type[Kind], float] = {**ON_DISK, ReplicaKill: 14, ReplicaStall: 45, NodeKill: 3}
IN_BUCKET: Mapping[type[Kind], float] = {Busy: 5, Cut: 4, Slow: 4, ReplicaKill: 4, DriverKill: 2, Preemption: 1}

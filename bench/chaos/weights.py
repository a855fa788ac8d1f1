"""Which kinds of faults come where, and how often each, beside the others."""

from __future__ import annotations

from collections.abc import Mapping

from bench.chaos.bucket import Busy, Cut, Slow
from bench.chaos.damage import ClockJump, FlippedBit, HalfWritten, Truncated
from bench.chaos.disks import DiskFull, ReadOnly
from bench.chaos.kills import (
    DriverKill,
    EngineKill,
    EngineTerm,
    HeadKill,
    Interrupt,
    NodeKill,
    Preemption,
    ReplicaHang,
    ReplicaKill,
    ReplicaStall,
    SecondDriver,
    WorkerKill,
)
from bench.chaos.kinds import Kind
from bench.chaos.sweep import Engine

_ECHO: Mapping[type[Kind], float] = {
    ReplicaKill: 30,
    ReplicaStall: 24,
    NodeKill: 5,
    ReplicaHang: 2,
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
ON_DISK: Mapping[Engine, Mapping[type[Kind], float]] = {
    "echo": _ECHO,
    # Where a kill costs the load of an engine, more of those that cost none.
    "vllm": {**_ECHO, ReplicaKill: 14, ReplicaStall: 45, NodeKill: 3, EngineKill: 8, EngineTerm: 8},
    "vllm-tp": {
        WorkerKill: 6,
        EngineKill: 2,
        EngineTerm: 2,
        ReplicaKill: 2,
        ReplicaStall: 2,
        DriverKill: 1,
        Preemption: 1,
    },
}
IN_BUCKET: Mapping[type[Kind], float] = {Busy: 5, Cut: 4, Slow: 4, ReplicaKill: 4, DriverKill: 2, Preemption: 1}
